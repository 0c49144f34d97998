/** `heddle pf ls|set-vfs`. */
import type { Command } from 'commander'
import { wholeNumber } from '../whole-number.ts'

export function addPf(root: Command): void {
  const pf = root.command('pf').description('physical functions: ports of SR-IOV cards')
  pf.command('ls')
    .description('list PFs: how many VFs they have, may have, and have free')
    .option('--host <host>', 'only those of a host')
    .addHelpText('after', '\nExamples:\n  heddle pf ls\n  heddle pf ls --host node7')
    .action(async ({ host = '' }: { host?: string }, command: Command) => {
      const [{ withSession }, { Pf }, { pfTable }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../vf-views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const { pfs } = await session.call((client) => client.listPfs, { host })
        print(session.json, pfs.map(Pf.toJSON), () => pfTable(pfs))
      })
    })
  pf.command('set-vfs')
    .description('make or remove VFs; refused while one is in use. The PF loses its carrier for a moment')
    .argument('<pf>', 'its netdev or PCI address')
    .argument('<count>', 'how many VFs it is to have; 0 removes them all', wholeNumber('a number of VFs', 0))
    .option('--host <host>', 'another host than this one')
    .addHelpText('after', '\nExamples:\n  heddle pf set-vfs ens1f0 8\n  heddle pf set-vfs 0000:3b:00.0 0 --host node7')
    .action(async (name: string, count: number, { host = '' }: { host?: string }, command: Command) => {
      const [{ withSession }, { HeddleSetVfsResponse }, { pfTable, vfTable }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../vf-views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const response = await session.call((client) => client.setVfs, { pf: name, count, host })
        const vfs = response.vfs.map((vf) => ({ vf, endpoint: undefined }))
        print(
          session.json,
          HeddleSetVfsResponse.toJSON(response),
          () => `${response.pf === undefined ? '' : pfTable([response.pf])}${vfs.length === 0 ? '' : `\n${vfTable(vfs)}`}`,
        )
      })
    })
}
