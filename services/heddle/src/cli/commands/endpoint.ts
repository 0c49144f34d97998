/** `heddle endpoint ls|inspect`: one container's interface in one network. */
import type { Command } from 'commander'

export function addEndpoint(root: Command): void {
  const endpoint = root.command('endpoint').description('endpoints: one interface of a container in a network')
  endpoint
    .command('ls')
    .description('list endpoints of the cluster')
    .option('--network <name>', 'only of this network')
    .option('--host <name>', 'only on this host')
    .addHelpText(
      'after',
      `
Examples:
  heddle endpoint ls
  heddle endpoint ls --network blue --host web-1
  heddle --json endpoint ls | jq -r '.[].addresses[]'`,
    )
    .action(async (options: { network?: string; host?: string }, command: Command) => {
      const [{ withSession }, { Endpoint }, { endpointTable }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const { endpoints } = await session.call((client) => client.listEndpoints, { network: options.network ?? '', host: options.host ?? '' })
        print(session.json, endpoints.map(Endpoint.toJSON), () => endpointTable(endpoints))
      })
    })
  endpoint
    .command('inspect')
    .description("show an endpoint, its claims, and where the host's kernel differs from its record")
    .argument('<id>', 'id of the endpoint, or a unique beginning of it')
    .addHelpText(
      'after',
      `
Examples:
  heddle endpoint inspect 3f9c1a
  heddle --json endpoint inspect 3f9c1a | jq .differences`,
    )
    .action(async (id: string, _, command: Command) => {
      const [{ withSession }, { GetEndpointResponse }, { claimTable, endpointFacts }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const response = await session.call((client) => client.getEndpoint, { id })
        print(session.json, GetEndpointResponse.toJSON(response), () => {
          const differences =
            response.differences.length === 0
              ? 'The kernel is as recorded.\n'
              : `The kernel differs from the record:\n${response.differences.map((line) => `  ${line}\n`).join('')}`
          return `${response.endpoint === undefined ? '' : endpointFacts(response.endpoint)}\n${claimTable(response.claims)}\n${differences}`
        })
      })
    })
}
