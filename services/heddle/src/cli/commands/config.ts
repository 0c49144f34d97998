/** `heddle config print`: what a process would run with. */
import type { Command } from 'commander'
import { addConfigOptions, type ConfigFlags, sourcesOf } from '../config-flags.ts'

export function addConfig(root: Command): void {
  const print = root
    .command('config')
    .description('configuration of `heddle up`')
    .command('print')
    .description('print every setting as it is after defaults, file, HEDDLE_* variables and flags')
  addConfigOptions(print)
    .addHelpText(
      'after',
      `
A setting a.bC of the file is the variable HEDDLE_A_B_C and the flag --set a.bC=VALUE.

Examples:
  heddle config print
  heddle config print --config /etc/heddle/heddle.yaml --services host`,
    )
    .action(async (flags: ConfigFlags, command: Command) => {
      const { loadUpConfig } = await import('../../up/config.ts')
      const { effective } = await loadUpConfig(sourcesOf(flags))
      if (command.optsWithGlobals()['json'] === true) process.stdout.write(`${JSON.stringify(effective, null, 2)}\n`)
      else process.stdout.write((await import('../yaml.ts')).stringify(effective))
    })
}
