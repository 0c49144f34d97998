/** `heddle up`. */
import type { Command } from 'commander'
import { addConfigOptions, type ConfigFlags, sourcesOf } from '../config-flags.ts'

export function addUp(root: Command): void {
  const up = root
    .command('up')
    .description('run Heddle: everything on this machine, or chosen services of a cluster')
    .option('--print-graph', 'print what would run and what it stands on, and end')
  addConfigOptions(up)
    .addHelpText(
      'after',
      `
Without --nats and --etcd it starts a nats-server and an etcd of its own, as children, with their data below --data-dir.
It prints a line that begins with "heddle is ready" when everything serves; SIGTERM ends it gracefully.

Examples:
  heddle up                                                     one machine, everything embedded
  heddle up --services brains --listen 10.0.0.1                 the brains of a cluster, with embedded servers others reach
  heddle up --services host --nats nats://10.0.0.1:4222         a host of a cluster
  heddle up --config /etc/heddle/heddle.yaml --set log.level=debug

Start the program file itself, not node with it: its first line has the settings of Node that keep a host small.`,
    )
    .action(async (flags: ConfigFlags & { printGraph?: boolean }) => {
      const [{ loadUpConfig }, { up }, { serviceGraph }] = await Promise.all([
        import('../../up/config.ts'),
        import('../../up/up.ts'),
        import('../../up/graph.ts'),
      ])
      const config = await loadUpConfig(sourcesOf(flags))
      if (flags.printGraph === true) process.stdout.write(serviceGraph(config))
      else await up(config)
    })
}
