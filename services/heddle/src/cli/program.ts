/** The tree of commands. */
import { Command, Option } from 'commander'
import { version } from '../version.ts'
import { addCni } from './commands/cni.ts'
import { addConfig } from './commands/config.ts'
import { addDoctor } from './commands/doctor.ts'
import { addEndpoint } from './commands/endpoint.ts'
import { addHost } from './commands/host.ts'
import { addNetwork } from './commands/network.ts'
import { addPf } from './commands/pf.ts'
import { addPool } from './commands/pool.ts'
import { addTrace } from './commands/trace.ts'
import { addUp } from './commands/up.ts'
import { addVf } from './commands/vf.ts'
import { addWhoHas } from './commands/who-has.ts'
import { exitCodesHelp } from './exit-codes.ts'
import { wholeNumber } from './whole-number.ts'

export const defaultSocket = '/run/heddle/heddle.sock'

export function program(): Command {
  const root = new Command('heddle')
    .description('Container networks behind Docker and CNI, from one control plane.')
    .version(version, '-V, --version', 'print the version')
    .addOption(new Option('--socket <path>', 'socket of the gateway of this host').env('HEDDLE_SOCKET').default(defaultSocket))
    .addOption(new Option('--timeout <ms>', 'give up after so long').default(30_000).argParser(wholeNumber('whole milliseconds')))
    .option('--json', 'JSON for scripts instead of a table')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(--help shows how to use it)')
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  heddle up                                             everything on this machine, with its own NATS and etcd
  heddle network create blue --subnet 10.7.0.0/16 --subnet fd07::/64
  heddle endpoint ls --network blue
  heddle trace show last
  heddle doctor
${exitCodesHelp}`,
    )
  for (const add of [addUp, addNetwork, addEndpoint, addPool, addHost, addPf, addVf, addWhoHas, addTrace, addDoctor, addConfig, addCni]) add(root)
  root
    .command('version')
    .description('print the version')
    .addHelpText('after', '\nExamples:\n  heddle version\n  heddle --json version                                 with the version of Node')
    .action((_, command: Command) => {
      process.stdout.write(command.optsWithGlobals()['json'] === true ? `${JSON.stringify({ version, node: process.version })}\n` : `heddle ${version}\n`)
    })
  return root
}
