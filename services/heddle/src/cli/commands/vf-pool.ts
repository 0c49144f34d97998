/** `heddle vf pool create|ls|rm`. */
import type { Command } from 'commander'
import type { VfPoolFlags } from '../vf-pool-request.ts'

export function addVfPool(vf: Command): void {
  const pool = vf.command('pool').description('named choices of VFs, the same on every host')
  pool
    .command('create')
    .description('create a pool; the same definition again changes nothing')
    .argument('<name>', 'the name Docker (-o pool=NAME), CNI ("vfPool": NAME) and networks know it by')
    .option('--pf <netdev>', 'PF by its netdev, with VF indexes if not all are meant: eth0, eth0#0-3,7', collect)
    .option('--pci <address>', 'a VF, or a PF for all its VFs: 0000:3b:00.0, 0000:3b:00.0#0-3', collect)
    .option('--vendor <id>', 'PCI vendor, four hex digits', collect)
    .option('--device <id>', 'PCI device of the VF, four hex digits', collect)
    .option('--vf-driver <name>', 'driver that the VF is bound to now: iavf, mlx5_core, ...', collect)
    .option('--link-type <type>', 'ether or infiniband', collect)
    .option('--numa <node>', 'NUMA node', collect)
    .option('--on <host>', 'host', collect)
    .option('--rdma', 'only VFs with an RDMA device')
    .option('--vdpa', 'only VFs with a vDPA device')
    .option('--policy <policy>', 'pack (fills one PF before the next; default) or spread')
    .option('--bind <driver>', 'user-space driver its VFs are bound to when they are handed out: vfio-pci')
    .option('--resource <prefix/name>', 'Kubernetes resource the pool is offered as')
    .addHelpText(
      'after',
      `
What is given several times is one or the other; different options narrow.

Examples:
  heddle vf pool create fast --pf ens1f0 --pf ens1f1 --policy spread
  heddle vf pool create dpdk --pf 'ens2f0#8-15' --bind vfio-pci --resource example.com/dpdk`,
    )
    .action(async (name: string, flags: VfPoolFlags, command: Command) => {
      const [{ withSession }, { VfPool }, { vfPoolFacts }, { print }, { vfPoolRequest }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../vf-views.ts'),
        import('../output.ts'),
        import('../vf-pool-request.ts'),
      ])
      const request = vfPoolRequest(name, flags)
      await withSession(command, async (session) => {
        const { pool: made, created, vfs } = await session.call((client) => client.putVfPool, request)
        print(session.json, made === undefined ? {} : VfPool.toJSON(made), () =>
          made === undefined ? '' : `${created ? '' : 'The pool was there already.\n'}${vfPoolFacts(made, vfs)}`,
        )
      })
    })
  pool
    .command('ls')
    .description('list pools and how many VFs they have')
    .addHelpText('after', '\nExamples:\n  heddle vf pool ls')
    .action(async (_, command: Command) => {
      const [{ withSession }, { VfPoolUsage }, { vfPoolTable }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../vf-views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const { pools } = await session.call((client) => client.listVfPools, { name: '' })
        print(session.json, pools.map(VfPoolUsage.toJSON), () => vfPoolTable(pools))
      })
    })
  pool
    .command('rm')
    .description('delete a pool; refused while a network names it')
    .argument('<name>', 'its name')
    .addHelpText('after', '\nExamples:\n  heddle vf pool rm fast')
    .action(async (name: string, _, command: Command) => {
      const [{ withSession }, { HeddleError }, { print }] = await Promise.all([import('../client.ts'), import('@heddle/core'), import('../output.ts')])
      await withSession(command, async (session) => {
        const { existed } = await session.call((client) => client.deleteVfPool, { name })
        if (!existed)
          throw new HeddleError('vf-pool-unknown', `there is no VF pool ${JSON.stringify(name)}`, {
            field: 'name',
            remedy: 'list the pools with `heddle vf pool ls`',
          })
        print(session.json, [name], () => `${name}\n`)
      })
    })
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}
