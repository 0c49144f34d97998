/** `heddle pool ls|inspect`: addresses and who has them. */
import type { Command } from 'commander'

export function addPool(root: Command): void {
  const pool = root.command('pool').description('address pools and the claims on them')
  pool
    .command('ls')
    .description('list pools with what is claimed and free')
    .addHelpText(
      'after',
      `
Examples:
  heddle pool ls
  heddle --json pool ls | jq -r '.[].pool.id'`,
    )
    .action(async (_, command: Command) => {
      const [{ withSession }, { PoolUsage }, { poolTable }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const { pools } = await session.call((client) => client.listAddressPools, {})
        print(session.json, pools.map(PoolUsage.toJSON), () => poolTable(pools))
      })
    })
  pool
    .command('inspect')
    .description('show a pool and every claim on it')
    .argument('<pool>', 'id of the pool, e.g. blue.10.7.0.0_16')
    .addHelpText(
      'after',
      `
Examples:
  heddle pool inspect blue.10.7.0.0_16
  heddle --json pool inspect blue.10.7.0.0_16 | jq '.claims[].address'`,
    )
    .action(async (id: string, _, command: Command) => {
      const [{ withSession }, { GetAddressPoolResponse }, { claimTable, poolFacts }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const response = await session.call((client) => client.getAddressPool, { id })
        print(
          session.json,
          GetAddressPoolResponse.toJSON(response),
          () => `${response.pool === undefined ? '' : poolFacts(response.pool)}\n${claimTable(response.claims)}`,
        )
      })
    })
}
