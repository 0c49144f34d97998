/** `heddle who-has <address|mac|pci|container>`. */
import type { Command } from 'commander'

export function addWhoHas(root: Command): void {
  root
    .command('who-has')
    .description('who has an address, a MAC, a VF or a container')
    .argument('<what>', "an IP address, a MAC, a PCI address, or a container's name or the beginning of its id")
    .addHelpText(
      'after',
      `
Examples:
  heddle who-has 10.7.0.12
  heddle who-has 0000:3b:02.1
  heddle --json who-has 02:42:0a:07:00:0c | jq -r '.endpoints[].containerId'`,
    )
    .action(async (query: string, _, command: Command) => {
      const [{ withSession }, { WhoHasResponse }, { whoHasText }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../vf-views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const response = await session.call((client) => client.whoHas, { query })
        print(session.json, WhoHasResponse.toJSON(response), () => whoHasText(response))
      })
    })
}
