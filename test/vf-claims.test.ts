/**
 * 10,000 random claims, releases, reservations, holds and reports on three replicas of vf-allocator, in processes of their own on a
 * real NATS and etcd, while these are killed, cut off and left without replies. HEDDLE_SEED repeats the choices.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Bus, connectBus, type Handlers } from '@heddle/bus'
import { busServices, NetworksDefinition, type Vf } from '@heddle/contract'
import { allPages, type Call, HeddleError, withCall } from '@heddle/core'
import { createLogger } from '@heddle/runtime'
import { connectStore } from '@heddle/store'
import { startEtcd, startNats } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { seededRandom } from './chaos/random.ts'
import { FakeHost, givenUp } from './vf-claims/hosts.ts'
import { befall, startReplica } from './vf-claims/replicas.ts'
import { watchClaims } from './vf-claims/witness.ts'

const operations = 10_000
const workers = 32
const config = { sweepIntervalMs: 500, graceMs: 1_500 }

test('with replicas killed and cut off in 10,000 random operations no VF ever has two owners, and none is lost', async (t) => {
  t.timeout(180_000)
  const random = seededRandom()
  t.log(`HEDDLE_SEED=${random.seed}`)
  const [nats, etcd] = await Promise.all([startNats(), startEtcd()])
  t.teardown(() => Promise.all([nats.stop(), etcd.stop()]))
  const logger = createLogger({ name: 'test', host: 'test', log: { level: 'error', pretty: true } })
  const bus = await connectBus({ servers: [nats.url], name: 'test', logger })
  t.teardown(() => bus.close())
  const store = connectStore({ endpoints: [etcd.url], logger })
  t.teardown(() => store.close())
  const witness = await watchClaims(store)
  const recorded = new Set<string>()
  await serveNetworks(bus, recorded)
  const replicas = await Promise.all(Array.from({ length: 3 }, () => startReplica(nats.url, etcd.url, config)))
  t.teardown(() => Promise.all(replicas.map((replica) => replica.stop())))
  const hosts = Array.from({ length: 4 }, (_, index) => new FakeHost(`h${index}`))
  const world = new World(t, bus, random.next, hosts, recorded)
  t.teardown(() => world.stop())
  for (const host of hosts) await world.report(host)

  const startMs = performance.now()
  const over = () => world.count >= operations
  const [counts] = await Promise.all([
    befall(replicas, random, over),
    ...hosts.map((host) => world.hands(host, over)),
    ...Array.from({ length: workers }, () => world.work(over)),
  ])
  t.log(
    `${world.count} operations in ${Math.round(performance.now() - startMs)} ms, ${witness.changes} changes of owner; ${JSON.stringify(counts)}; ${JSON.stringify(world.outcomes)}`,
  )

  await world.settle()
  t.deepEqual(witness.violations, [])
  t.true(witness.changes > 1_000 && (counts['kill'] ?? 0) > 0)
  const claimed = await world.claimEverything()
  t.is(
    new Set(claimed).size,
    hosts.reduce((sum, { pcis }) => sum + pcis.length, 0),
    'a VF was lost',
  )
  const { records } = await withCall({ timeoutMs: 10_000 }, (call) => store.list('heddle/vf/owner/', call))
  t.is(records.length, claimed.length, 'as many owners as claims')
  t.deepEqual(witness.violations, [])
  await witness.close()
})

/** Endpoints are what the test says; an owner without one can always be fenced. */
async function serveNetworks(bus: Bus, recorded: ReadonlySet<string>): Promise<void> {
  const unasked = Object.fromEntries(Object.keys(NetworksDefinition.methods).map((method) => [method, async () => ({})]))
  await bus.serve(busServices.networks, {
    ...(unasked as unknown as Handlers<NetworksDefinition>),
    listEndpoints: async () => ({ endpoints: [...recorded].map((id) => ({ id })) }),
    fence: async ({ owners }) => ({ fencedOwners: owners.map(({ owner }) => owner).filter((owner) => !recorded.has(owner)) }),
  })
}

class World {
  count = 0
  readonly outcomes: Record<string, number> = {}
  readonly #t: ExecutionContext
  readonly #random: () => number
  readonly #hosts: readonly FakeHost[]
  readonly #recorded: Set<string>
  readonly #allocator
  /** Who has which VF, from the answer to its claim until it asks for its release. */
  readonly #holders = new Map<string, string>()
  #owners = 0
  #stopped = false

  constructor(t: ExecutionContext, bus: Bus, random: () => number, hosts: readonly FakeHost[], recorded: Set<string>) {
    this.#t = t
    this.#random = random
    this.#hosts = hosts
    this.#recorded = recorded
    this.#allocator = bus.client(busServices.vfAllocator)
  }

  /** A failed test goes on nowhere. */
  stop(): void {
    this.#stopped = true
  }

  /** One endpoint after another, of which one in eight is forgotten by whoever made it. */
  async work(over: () => boolean): Promise<void> {
    while (!over()) {
      const host = this.#one(this.#hosts.filter(({ draining }) => !draining))
      const owner = `e${this.#owners++}`
      this.#recorded.add(owner)
      const reserved = this.#random() < 0.1 ? this.#one(host.pcis) : ''
      const isReserved =
        reserved !== '' &&
        (await this.#try(`reserve`, (call) => this.#allocator.claim({ host: host.name, pci: reserved, reserveFor: 'kubelet' }, call))) !== undefined
      const held = await this.#claim(owner, host, isReserved ? reserved : '')
      if (held !== undefined && this.#random() < 0.3) this.#t.is(await this.#claim(owner, host, ''), held, 'an owner keeps its VF')
      if (held !== undefined) this.#holders.delete(held)
      if (this.#random() >= 0.125) await this.#surely('release', (call) => this.#allocator.release({ owner }, call))
      if (isReserved) await this.#surely('unreserve', (call) => this.#allocator.release({ host: host.name, pci: reserved }, call))
      this.#recorded.delete(owner)
    }
  }

  /** Reports what changes, twice and late now and then; remakes VFs; puts back what the sweep has given up. */
  async hands(host: FakeHost, over: () => boolean): Promise<void> {
    let late = host.report()
    while (!over()) {
      const dice = this.#random()
      if (dice < 0.1) {
        late = host.report()
        host.epoch++
        await this.report(host)
      } else if (dice < 0.2 && late.epoch !== `epoch-${host.epoch}`) await this.#try('late report', (call) => this.#allocator.report(late, call))
      else if (dice < 0.3) await this.#remake(host)
      else if (dice < 0.7) await this.#change(host)
      else await this.report(host)
    }
  }

  /** Until it is answered. */
  async report(host: FakeHost): Promise<void> {
    const answer = await this.#surely('report', (call) => this.#allocator.report(host.report(), call))
    for (const { owner, revision } of answer === undefined ? [] : givenUp(answer))
      await this.#try('put back', (call) => this.#allocator.release({ owner, revision }, call))
  }

  /** Everything is put back and let go. */
  async settle(): Promise<void> {
    for (const host of this.#hosts) {
      host.unusable.clear()
      for (const pf of new Set(host.pcis.map((pci) => host.pfOf(pci))))
        await this.#surely('unhold', (call) => this.#allocator.unholdPf({ host: host.name, pf }, call))
    }
    const deadlineMs = performance.now() + 60_000
    for (;;) {
      for (const host of this.#hosts) await this.report(host)
      const vfs = await this.#list()
      const left = vfs.filter((vf) => vf.state !== 'ready' || vf.claim !== undefined)
      if (left.length === 0) return
      if (performance.now() > deadlineMs)
        this.#t.fail(
          `left: ${left
            .slice(0, 5)
            .map((vf) => `${vf.host}/${vf.pci} ${vf.state} ${vf.claim?.owner ?? ''}`)
            .join(', ')}`,
        )
      await delay(200)
    }
  }

  async claimEverything(): Promise<string[]> {
    const claimed: string[] = []
    for (const host of this.#hosts) {
      const owners = host.pcis.map((pci) => `last-${host.name}-${pci.replaceAll(/[.:]/g, '-')}`)
      for (const owner of owners) this.#recorded.add(owner)
      const vfs = await Promise.all(owners.map((owner) => this.#surely('claim', (call) => this.#allocator.claim({ owner, host: host.name }, call))))
      claimed.push(...vfs.map((answer) => `${host.name}/${answer?.vf?.pci}`))
      const error = await this.#t.throwsAsync(
        withCall({ timeoutMs: 10_000 }, (call) => this.#allocator.claim({ owner: 'one-too-many', host: host.name }, call)),
      )
      this.#t.is(HeddleError.from(error).code, 'vf-exhausted')
    }
    return claimed
  }

  /** Undefined when it was refused. */
  async #claim(owner: string, host: FakeHost, pci: string): Promise<string | undefined> {
    for (;;) {
      const unusable = new Set(host.unusable.keys())
      const answer = await this.#try('claim', (call) =>
        this.#allocator.claim({ owner, host: host.name, pci, policy: this.#random() < 0.5 ? 'pack' : 'spread' }, call),
      )
      if (answer === 'unknown') continue
      if (answer?.vf === undefined) return undefined
      const vf = `${host.name}/${answer.vf.pci}`
      const holder = this.#holders.get(vf)
      this.#t.true(holder === undefined || holder === owner, `${vf} of ${holder} was given to ${owner}`)
      if (holder === undefined) this.#t.false(unusable.has(answer.vf.pci) && host.unusable.has(answer.vf.pci), `${vf} is ${host.unusable.get(answer.vf.pci)}`)
      this.#holders.set(vf, owner)
      return vf
    }
  }

  async #change(host: FakeHost): Promise<void> {
    const pci = this.#one(host.pcis)
    const next = new Map(host.unusable)
    if (host.unusable.has(pci)) {
      // From when it is told it may be had.
      host.unusable.delete(pci)
      await this.report(host)
    } else if (!this.#holders.has(`${host.name}/${pci}`)) {
      next.set(pci, this.#random() < 0.8 ? 'dirty' : 'quarantined')
      await this.#surely('report', (call) => this.#allocator.report(host.report(next), call))
      // What is claimed meanwhile is recorded as at its baseline: only quarantine is of a claimed VF too.
      const [vf] = ((await this.#try('look', (call) => this.#allocator.listVfs({ host: host.name, pci }, call))) as { vfs?: Vf[] } | undefined)?.vfs ?? []
      if (vf?.state === next.get(pci) && vf?.claim === undefined) host.unusable.set(pci, vf?.state ?? '')
    }
  }

  /** One host at a time is drained for it. */
  async #remake(host: FakeHost): Promise<void> {
    if (this.#hosts.some(({ draining }) => draining)) return
    host.draining = true
    const pf = host.pfOf(this.#one(host.pcis))
    const epoch = `epoch-${host.epoch}`
    for (let tries = 0; tries < 20; tries++) {
      const held = await this.#try('hold', (call) => this.#allocator.holdPf({ host: host.name, pf, epoch }, call))
      if (held === undefined || held === 'unknown') {
        // What was forgotten on it is given up meanwhile.
        await this.report(host)
        await delay(200)
        continue
      }
      const claims = [...this.#holders.keys()].filter((vf) => vf.startsWith(`${host.name}/`) && host.pfOf(vf.slice(host.name.length + 1)) === pf)
      this.#t.deepEqual(claims, [], 'held with a VF claimed')
      host.remake(pf)
      await this.report(host)
      break
    }
    await this.#surely('unhold', (call) => this.#allocator.unholdPf({ host: host.name, pf }, call))
    host.draining = false
  }

  async #list(): Promise<Vf[]> {
    return withCall({ timeoutMs: 10_000 }, (call) =>
      allPages(
        (pageToken) => this.#allocator.listVfs({ pageToken }, call),
        (page) => page.vfs,
      ),
    )
  }

  /** Again while it is not known what became of it. */
  async #surely<T>(what: string, body: (call: Call) => Promise<T>): Promise<T | undefined> {
    for (;;) {
      const answer = await this.#try(what, body)
      if (answer !== 'unknown') return answer
    }
  }

  /** Undefined: refused; unknown: it may or may not have been done. */
  async #try<T>(what: string, body: (call: Call) => Promise<T>): Promise<T | 'unknown' | undefined> {
    if (this.#stopped) throw new Error('the test is over')
    this.count++
    const count = (outcome: string) => {
      this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1
    }
    try {
      const answer = await withCall({ timeoutMs: 1_500 }, body)
      count(what)
      return answer
    } catch (error) {
      const { code, retryable, message } = HeddleError.from(error)
      count(code)
      if (retryable && code !== 'claim-fenced') return 'unknown'
      if (code === 'internal' || code === 'invalid-argument') this.#t.fail(`${what}: ${message}`)
      return undefined
    }
  }

  #one<T>(all: readonly T[]): T {
    return all[Math.floor(this.#random() * all.length)] as T
  }
}
