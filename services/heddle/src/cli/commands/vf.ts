/** `heddle vf ls|inspect|repair`; the pools are in vf-pool.ts. */
import type { Command } from 'commander'
import { addVfPool } from './vf-pool.ts'

export function addVf(root: Command): void {
  const vf = root.command('vf').description('virtual functions of SR-IOV cards: who has which')
  vf.command('ls')
    .description('list VFs: where they are, what they are set to, who holds them')
    .option('--host <host>', 'only those of a host')
    .option('--pf <pf>', 'only those of a PF: its netdev or PCI address')
    .option('--pool <pool>', 'only those of a VF pool')
    .addHelpText(
      'after',
      `
Examples:
  heddle vf ls
  heddle vf ls --pf ens1f0
  heddle --json vf ls | jq -r '.[] | select(.vf.state == "quarantined") | .vf.pci'`,
    )
    .action(async (flags: { host?: string; pf?: string; pool?: string }, command: Command) => {
      const [{ withSession }, { ListedVf }, { vfTable }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../vf-views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const { vfs } = await session.call((client) => client.listVfs, { host: flags.host ?? '', pf: flags.pf ?? '', pool: flags.pool ?? '' })
        print(session.json, vfs.map(ListedVf.toJSON), () => vfTable(vfs))
      })
    })
  vf.command('inspect')
    .description('show a VF as it is recorded and as the kernel has it')
    .argument('<pci>', 'its PCI address')
    .option('--host <host>', 'where it is, when several hosts have a VF of this address')
    .addHelpText(
      'after',
      `
Examples:
  heddle vf inspect 0000:3b:02.1
  heddle --json vf inspect 0000:3b:02.1 --host node7 | jq .kernel.differences`,
    )
    .action(async (pci: string, { host = '' }: { host?: string }, command: Command) => {
      const [{ withSession }, { GetVfResponse }, { vfFacts }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../vf-views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const response = await session.call((client) => client.getVf, { pci, host })
        print(session.json, GetVfResponse.toJSON(response), () => vfFacts(response))
      })
    })
  vf.command('repair')
    .description('put VFs that nobody holds back to their baseline, those in quarantine too')
    .argument('[pci]', 'one VF; default: every VF of the host', '')
    .option('--host <host>', 'another host than this one')
    .addHelpText(
      'after',
      `
Examples:
  heddle vf repair
  heddle vf repair 0000:3b:02.1 --host node7`,
    )
    .action(async (pci: string, { host = '' }: { host?: string }, command: Command) => {
      const [{ withSession }, { HeddleRepairVfsResponse }, { repairTable }, { print }, { exitCodes }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../vf-views.ts'),
        import('../output.ts'),
        import('../exit-codes.ts'),
      ])
      await withSession(command, async (session) => {
        const response = await session.call((client) => client.repairVfs, { pci, host })
        print(session.json, HeddleRepairVfsResponse.toJSON(response), () => repairTable(response.repairs))
        if (response.repairs.some(({ outcome }) => outcome === 'quarantined')) process.exitCode = exitCodes.failed
      })
    })
  addVfPool(vf)
}
