/**
 * `node bench.js ROUNDS`: a VF with its own MAC attached and detached by our hands and in the sequence of sriov-cni, in alternating
 * blocks; then a few rounds of ours with a MAC that is set. Prints the samples as JSON. Each round is checked: what was set is set, and
 * afterwards the VF is as it was.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Call, withCall } from '@heddle/core'
import { openKernel, openSysfs } from '@heddle/kernel'
import type { Attached } from './bench/attached.ts'
import { Hands } from './bench/hands.ts'
import { SriovCni } from './bench/sriov-cni.ts'
import { type Sample, Steps } from './bench/steps.ts'

const pf = '0000:01:00.0'
const blockSize = 8
const warmUp = 6
const macRounds = 5
/** What an operation leaves to the kernel (a namespace that ends, links that go up) is over by then. */
const pauseMs = 200

const rounds = Number(process.argv[2])
const steps = new Steps()
const bare = openKernel({})
const kernel = steps.kernel(bare)
const sysfs = openSysfs()
await withCall({ timeoutMs: 30_000 }, async (call) => {
  const name = (await sysfs.physicalFunction(pf))?.netdevs[0]?.name ?? ''
  await bare.run([{ op: 'link.set', ns: 'own', name, up: true }], call)
  await sysfs.setNumVfs(pf, 2, {}, call)
  // A rate is of the link's speed: refused until the link is back.
  while ((await bare.link('own', name, call))?.running !== true) await delay(50)
})
const before = await sysfs.physicalFunction(pf)
const pfName = before?.netdevs[0]?.name ?? ''
const pci = before?.vfs[0]?.pci ?? ''
const vfName = before?.vfs[0]?.netdevs[0]?.name ?? ''
const within = <T>(body: (call: Call) => Promise<T>) => withCall({ timeoutMs: 30_000 }, body)
const hands = await within((call) => Hands.start(kernel, steps.sysfs(sysfs), pci, call))
const sriovCni = new SriovCni(kernel, steps)

const sandbox = { path: '/run/netns/bench' }
await within((call) => bare.createNamespace(sandbox.path, call))
const attached: Attached = {
  ...{ pci, sandbox, ifname: 'net1', mac: undefined, address: '10.0.0.2/24', gateway: '10.0.0.1' },
  settings: { vlan: { id: 100, qos: 3, protocol: '802.1q' }, rate: { min: 0, max: 100 }, spoofchk: false, trust: true },
}

/** Everything of the VF that either of them changes. A driver may tell its PF the MAC it has: to everybody else the same as none. */
async function shape(): Promise<string> {
  return within(async (call) => {
    const info = (await bare.vfs('own', pfName, call))[0]
    const link = await bare.link('own', vfName, call)
    const { mac, mtu, alias, up } = link ?? {}
    return JSON.stringify({ ...info, mac: info?.mac === mac ? '00:00:00:00:00:00' : info?.mac, link: { mac, mtu, alias, up } })
  })
}

async function inside(what: Attached): Promise<void> {
  await within(async (call) => {
    const [info, link, addresses, routes] = [
      (await bare.vfs('own', pfName, call))[0],
      await bare.link(sandbox, what.ifname, call),
      await bare.addresses(sandbox, call),
      await bare.routes(sandbox, call),
    ]
    const is = {
      ...{ vlan: info?.vlan, qos: info?.qos, max: info?.maxTxRate, spoofchk: info?.spoofchk, trust: info?.trust, up: link?.up },
      address: addresses.some(({ address }) => address === what.address),
      route: routes.some(({ gateway }) => gateway === what.gateway),
    }
    const { vlan, rate, spoofchk, trust } = what.settings
    const wanted = { vlan: vlan.id, qos: vlan.qos, max: rate.max, spoofchk, trust, up: true, address: true, route: true }
    if (JSON.stringify(is) !== JSON.stringify(wanted)) throw new Error(`attached as ${JSON.stringify(is)}, not ${JSON.stringify(wanted)}`)
  })
}

interface Samples {
  readonly attach: Sample[]
  readonly detach: Sample[]
}

const competitors = {
  ours: { attach: hands.attach.bind(hands), detach: hands.detach.bind(hands), settled: hands.settled.bind(hands) },
  rival: { attach: sriovCni.add.bind(sriovCni), detach: sriovCni.del.bind(sriovCni), settled: (operation: () => Promise<void>) => operation() },
}

async function round({ attach, detach, settled }: (typeof competitors)['ours'], what: Attached, samples: Samples): Promise<void> {
  await settled(async () => void samples.attach.push(await within((call) => steps.sample(() => attach(what, call)))))
  await delay(pauseMs)
  await inside(what)
  await settled(async () => void samples.detach.push(await within((call) => steps.sample(() => detach(what, call)))))
  await delay(pauseMs)
  const after = await shape()
  if (after !== baseline) throw new Error(`the VF is ${after} after a round, and was ${baseline}`)
}

async function alternate(what: Attached, count: number, skip: number): Promise<Record<string, Samples>> {
  const samples = { ours: { attach: [], detach: [] } as Samples, rival: { attach: [], detach: [] } as Samples }
  const scrap: Samples = { attach: [], detach: [] }
  for (const side of ['ours', 'rival'] as const) for (let n = 0; n < skip; n++) await round(competitors[side], what, scrap)
  for (let done = 0; done < count; done += blockSize) {
    for (const side of ['ours', 'rival'] as const) {
      for (let n = 0; n < Math.min(blockSize, count - done); n++) await round(competitors[side], what, samples[side])
    }
  }
  return samples
}

const baseline = await shape()
const own = await alternate(attached, rounds, warmUp)
// igbvf is bound anew for a MAC to count, twice a round; sriov-cni leaves it deaf instead.
const withMac: Samples = { attach: [], detach: [] }
for (let n = 0; n < macRounds; n++) await round(competitors.ours, { ...attached, mac: '02:00:00:00:00:10' }, withMac)
process.stdout.write(JSON.stringify({ own, withMac }))
process.exit()
