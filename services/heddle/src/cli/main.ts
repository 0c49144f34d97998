#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --max-semi-space-size=2 --max-old-space-size=512
/**
 * The `heddle` command. The line above is the one place that decides how Node runs it: the bundle keeps it, units, labs and
 * `npm run up` start this file itself. V8 lets a heap of at most 512 MiB grow in small steps only, and a brain has room for
 * hundreds of thousands of endpoints in it; a larger young generation is not worth its memory on every host, a smaller one
 * costs a tenth of the calls a second; glibc needs no arena per thread. Only commander is loaded here; what an
 * action needs is loaded when it runs.
 */
import { program } from './program.ts'
import { runProgram } from './run.ts'

process.exitCode = await runProgram(program(), process.argv.slice(2))
