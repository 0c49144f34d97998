/**
 * Runs the kernel package's parts for SR-IOV on the card of a guest and prints as JSON what they answered, for the test to judge.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { HeddleError, withCall } from '@heddle/core'
import { openKernel, openSysfs } from '@heddle/kernel'

const pf = '0000:01:00.0'
const settings = {
  mac: '02:00:00:00:00:10',
  vlan: { id: 100, qos: 3, protocol: '802.1q' },
  rate: { min: 0, max: 100 },
  spoofchk: true,
  trust: true,
} as const
const answers: Record<string, unknown> = {}
const kernel = openKernel({})
const sysfs = openSysfs()
const events = new Set<string>()
const watch = kernel.watchDevices((event) => events.add(event === undefined ? 'lost' : `${event.action} ${event.subsystem}`))

await withCall({ timeoutMs: 60_000 }, async (call) => {
  const refusalOf = async (doing: Promise<unknown>) => {
    try {
      await doing
      return 'done'
    } catch (error) {
      if (!(error instanceof HeddleError)) throw error
      return { code: error.code, message: error.message, details: error.details }
    }
  }
  const found = await sysfs.physicalFunction(pf)
  const netdev = found?.netdevs[0]?.name ?? ''
  answers['found'] = found
  await kernel.run([{ op: 'link.set', ns: 'own', name: netdev, up: true }], call)
  await sysfs.setNumVfs(pf, 2, {}, call)
  const made = await sysfs.physicalFunction(pf)
  answers['made'] = made
  answers['tooMany'] = await refusalOf(sysfs.setNumVfs(pf, 9, {}, call))
  answers['madeAgain'] = (await sysfs.physicalFunction(pf))?.numVfs
  const set = (vf: number, what: object) => kernel.run([{ op: 'vf.set', ns: 'own', name: netdev, vf, ...what }], call)

  // A rate is of the link's speed: igb refuses one (EINVAL) until its link is back after the VFs were made.
  while ((await kernel.link('own', netdev, call))?.running !== true) await delay(50)
  answers['fresh'] = await kernel.vfs('own', netdev, call)
  await set(0, settings)
  answers['set'] = await kernel.vfs('own', netdev, call)
  answers['linkState'] = await refusalOf(set(1, { linkState: 'disable' }))
  answers['qinq'] = await refusalOf(set(1, { vlan: { id: 7, qos: 0, protocol: '802.1ad' } }))
  answers['noSuchVf'] = await refusalOf(set(9, { trust: true }))

  const vf = (await sysfs.physicalFunction(pf))?.vfs[0]
  const vfPci = vf?.pci ?? ''
  const macOf = async () => (await sysfs.virtualFunction(vfPci))?.netdevs[0]?.mac
  answers['macBeforeRebind'] = await macOf()
  await sysfs.rebind(vfPci, call)
  answers['macAfterRebind'] = await macOf()

  const name = (await sysfs.virtualFunction(vfPci))?.netdevs[0]?.name ?? ''
  const sandbox = { path: '/run/netns/port' }
  await kernel.createNamespace(sandbox.path, call)
  await kernel.run([{ op: 'link.move', ns: 'own', name, to: sandbox, rename: 'net1', mtu: 1400, alias: 'heddle:test', up: true }], call)
  answers['inside'] = (await kernel.links(sandbox, call)).find((link) => link.parentDevice === vfPci)
  answers['outsideWhileIn'] = (await sysfs.virtualFunction(vfPci))?.netdevs
  await kernel.run([{ op: 'vlan.add', ns: sandbox, link: 'net1', name: 'net1.5', vlan: 5, up: true }], call)
  answers['trunk'] = (await kernel.link(sandbox, 'net1.5', call))?.kind
  await kernel.run([{ op: 'link.move', ns: sandbox, name: 'net1', to: 'own', rename: name, mtu: 1500, alias: '' }], call)
  answers['back'] = await kernel.link('own', name, call)
  answers['leftBehind'] = (await kernel.links(sandbox, call)).map((link) => link.name)

  await kernel.run([{ op: 'link.move', ns: 'own', name, to: sandbox, rename: 'net1' }], call)
  await kernel.deleteNamespace(sandbox.path, call)
  while ((await kernel.link('own', 'net1', call)) === undefined) await delay(50)
  answers['orphan'] = (await sysfs.virtualFunction(vfPci))?.netdevs[0]?.name

  answers['hasVfio'] = [await sysfs.hasDriver('vfio-pci'), await sysfs.hasDriver('no-such-driver')]
  await sysfs.bind(vfPci, 'vfio-pci', call)
  answers['vfio'] = await sysfs.virtualFunction(vfPci)
  await sysfs.bind(vfPci, '', call)
  answers['kernelAgain'] = await sysfs.virtualFunction(vfPci)
  await sysfs.setNumVfs(pf, 0, {}, call)
  answers['gone'] = (await sysfs.physicalFunction(pf))?.vfs.length
})
watch.close()
answers['events'] = [...events].sort()
await kernel.close()
process.stdout.write(JSON.stringify(answers, (_, value) => (typeof value === 'bigint' ? String(value) : value), 1))
