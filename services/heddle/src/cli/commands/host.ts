/** `heddle host ls|rm`. */
import type { Command } from 'commander'

export function addHost(root: Command): void {
  const host = root.command('host').description('hosts of the cluster')
  host
    .command('ls')
    .description('list hosts: where their packets come from and whether they are alive')
    .addHelpText(
      'after',
      `
Examples:
  heddle host ls
  heddle --json host ls | jq -r '.[] | select(.alive | not) | .name'`,
    )
    .action(async (_, command: Command) => {
      const [{ withSession }, { Host }, { print, table, timestamp }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const { hosts } = await session.call((client) => client.listHosts, {})
        print(session.json, hosts.map(Host.toJSON), () =>
          table(
            ['HOST', 'ALIVE', 'VTEP', 'MTU', 'VERSION', 'REGISTERED'],
            hosts.map((each) => [each.name, each.alive ? 'yes' : 'no', each.vtep, String(each.underlayMtu), each.version, timestamp(each.registeredAt)]),
          ),
        )
      })
    })
  host
    .command('rm')
    .description('forget a host that is gone for good, with its VFs')
    .argument('<name>', 'its name')
    .option('--force', 'also when it has endpoints: they are deleted and their addresses freed')
    .addHelpText(
      'after',
      `
Examples:
  heddle host rm node7
  heddle host rm --force node7`,
    )
    .action(async (name: string, { force = false }: { force?: boolean }, command: Command) => {
      const [{ withSession }, { HeddleRemoveHostResponse }, { facts, print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const removed = await session.call((client) => client.removeHost, { name, force })
        print(session.json, HeddleRemoveHostResponse.toJSON(removed), () =>
          facts([
            ['forgotten', name],
            ['endpoints deleted', String(removed.endpoints)],
            ['VF claims freed', String(removed.vfClaims)],
          ]),
        )
      })
    })
}
