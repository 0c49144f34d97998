/**
 * How long a claim of a VF takes over the bus, with 64 hosts of 128 VFs in the inventory: one vf-allocator replica in its own
 * process, a real NATS and etcd, claims from all hosts, a few at a time. The rival keeps no memory: for each claim it reads the
 * host's VFs and claims from the same etcd, and commits the same two records, from this process, past the bus.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { connectBus } from '@heddle/bus'
import { busServices, type Partially, type Vf, VfSettings } from '@heddle/contract'
import { type Call, withCall } from '@heddle/core'
import { createRuntime } from '@heddle/runtime'
import { connectStore, type Store } from '@heddle/store'
import { startEtcd, startNats } from '@heddle/testkit'
import { type Figure, figure, quantile, type Suite } from './figures.ts'

const hosts = Array.from({ length: 64 }, (_, index) => `host-${index}`)
const pfs = ['0000:3b:00.0', '0000:3b:00.1']
const vfsPerPf = 64
const atOnce = 8
const warmUp = 1_000
const claims = 4_000

export const vfClaimSuite: Suite = {
  ids: ['vf-claim'],
  async run(progress) {
    return [await benchVfClaim(progress)]
  },
}

async function benchVfClaim(progress: (line: string) => void): Promise<Figure> {
  const [nats, etcd] = await Promise.all([startNats(), startEtcd()])
  const runtime = createRuntime({ name: 'bench', host: 'bench', version: 'bench', log: { level: 'error', pretty: true } })
  await runtime.start()
  const replica = fork(join(import.meta.dirname, 'vf-replica.ts'), [nats.url, etcd.url])
  const bus = await connectBus({ servers: [nats.url], name: 'bench', logger: runtime.logger })
  const store = connectStore({ endpoints: [etcd.url], logger: runtime.logger })
  try {
    await once(replica, 'message')
    const allocator = bus.client(busServices.vfAllocator)
    for (const host of hosts) await within((call) => allocator.report(reportOf(host), call))
    await writeRivals(store)
    const ours = {
      claim: (owner: string, host: string) => within((call) => allocator.claim({ owner, host }, call)),
      release: (owner: string) => within((call) => allocator.release({ owner }, call)),
    }
    const rivals = {
      claim: (owner: string, host: string) => within((call) => rivalClaim(store, owner, host, call)),
      release: (owner: string) => within((call) => rivalRelease(store, owner, call)),
    }
    for (const each of [ours, rivals]) await timesMs(each, warmUp)
    const [mine, theirs] = [await timesMs(ours, claims), await timesMs(rivals, claims)]
    const say = (times: readonly number[]) => `p50 ${quantile(times, 0.5).toFixed(2)} ms, p99 ${quantile(times, 0.99).toFixed(2)} ms`
    progress(`vf-claim: ${say(mine)}; a read of the host and a transaction per claim: ${say(theirs)}`)
    return figure({
      id: 'vf-claim',
      what: `claim of a VF over the bus, p99, ${hosts.length} hosts of ${pfs.length * vfsPerPf} VFs, ${atOnce} claims at once, one replica`,
      unit: 'ms',
      ours: quantile(mine, 0.99),
      rival: quantile(theirs, 0.99),
      rivalName: 'etcd alone: read the host, one transaction',
    })
  } finally {
    replica.kill()
    await store.close()
    await bus.close()
    await runtime.stop()
    await Promise.all([nats.stop(), etcd.stop()])
  }
}

interface Claimer {
  claim(owner: string, host: string): Promise<unknown>
  release(owner: string): Promise<unknown>
}

let made = 0

/** Each host in turn; half of what a host has stays claimed, as on a machine at work. */
async function timesMs({ claim, release }: Claimer, count: number): Promise<number[]> {
  const times: number[] = []
  const held: string[] = []
  const most = (hosts.length * pfs.length * vfsPerPf) / 2
  const caller = async () => {
    while (times.length < count) {
      const [owner, host] = [`endpoint-${made++}`, hosts[made % hosts.length] as string]
      const startMs = performance.now()
      await claim(owner, host)
      times.push(performance.now() - startMs)
      held.push(owner)
      const oldest = held.length > most ? held.shift() : undefined
      if (oldest !== undefined) await release(oldest)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, caller))
  await Promise.all(held.map((owner) => release(owner)))
  return times
}

function reportOf(host: string) {
  const settings = VfSettings.fromPartial({
    mac: '00:00:00:00:00:00',
    vlan: 0,
    vlanQos: 0,
    vlanProto: '802.1q',
    spoofchk: true,
    trust: false,
    linkState: 'auto',
  })
  const vfs = pfs.flatMap((pf, port) =>
    Array.from({ length: vfsPerPf }, (_, index): Partially<Vf> => {
      const own = { name: `ens${port}v${index}`, mac: `02:00:00:00:0${port}:${index.toString(16).padStart(2, '0')}`, driver: 'iavf' }
      const pci = `0000:3b:${(16 + port * 8 + (index >> 3)).toString(16)}.${index & 7}`
      return {
        pci,
        pf,
        index,
        ...own,
        vendor: '8086',
        device: '154c',
        linkType: 'ether',
        generation: `boot:${pci}`,
        settings,
        state: 'new',
        baseline: { settings, ...own },
      }
    }),
  )
  return { host, epoch: 'bench', pfs: pfs.map((pci, port) => ({ pci, names: [`ens${port}`], numVfs: vfsPerPf, totalVfs: vfsPerPf })), vfs }
}

const slots = reportOf('').vfs.map(({ pci }) => pci ?? '')

/** A record for each VF, as the inventory of one who keeps nothing in memory would be. */
async function writeRivals(store: Store): Promise<void> {
  for (const host of hosts) {
    const { vfs } = reportOf(host)
    await Promise.all(
      vfs.map((vf) => within((call) => store.commit({ when: [], write: [{ put: `rival/vf/${host}/${vf.pci}`, value: JSON.stringify(vf) }] }, call))),
    )
  }
}

async function rivalClaim(store: Store, owner: string, host: string, call: Call): Promise<void> {
  for (;;) {
    const [, { records }] = await Promise.all([store.list(`rival/vf/${host}/`, call), store.list(`rival/claim/${host}/`, call)])
    const taken = new Set(records.map(({ key }) => key.slice(key.lastIndexOf('/') + 1)))
    const pci = slots.find((slot) => !taken.has(slot))
    const key = `rival/claim/${host}/${pci}`
    const value = JSON.stringify({ host, pci, owner, createdAt: call.clock.timestamp() })
    const committed = await store.commit(
      {
        when: [{ key, is: 'absent' }],
        write: [
          { put: key, value },
          { put: `rival/owner/${owner}`, value: key },
        ],
      },
      call,
    )
    if (committed.succeeded) return
  }
}

async function rivalRelease(store: Store, owner: string, call: Call): Promise<void> {
  const record = await store.get(`rival/owner/${owner}`, call)
  if (record !== undefined) await store.commit({ when: [], write: [{ delete: record.key }, { delete: record.value }] }, call)
}

function within<T>(body: (call: Call) => Promise<T>): Promise<T> {
  return withCall({ timeoutMs: 20_000 }, body)
}
