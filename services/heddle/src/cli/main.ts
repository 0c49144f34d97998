#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --max-semi-space-size=1
/** The `heddle` command. Only commander is loaded here; what an action needs is loaded when it runs. */
import { program } from './program.ts'
import { runProgram } from './run.ts'

process.exitCode = await runProgram(program(), process.argv.slice(2))
