// kill -9 at any step of attach, detach and repair: whatever was under way, every VF ends at its baseline, or owned, whole and verified.
import { MemoryBus, MemoryHub } from '@heddle/bus'
import { Endpoint, VfClaim } from '@heddle/contract'
import { systemClock } from '@heddle/core'
import { createRuntime } from '@heddle/runtime'
import { presets } from '@heddle/testkit'
import test from 'ava'
import fc from 'fast-check'
import type { HostContext } from '../host-context.ts'
import { FakeAllocator } from '../testing/fake-allocator.ts'
import { within } from '../testing/lab.ts'
import { Life } from '../testing/mortal.ts'
import { network, pf, VfLab } from '../testing/vf-lab.ts'
import { VfHost } from './host.ts'
import { vfShape } from './shape.ts'
import { shapeDifferences } from './verify.ts'

const mac = '02:11:22:33:44:55'

/** A host whose hands may die, and which hears of its containers' ends. */
class World {
  readonly hub = new MemoryHub()
  readonly allocator = new FakeAllocator(this.hub)
  readonly lab: VfLab
  readonly owned = new Map<string, Endpoint>()
  #life = new Life()
  #host: VfHost | undefined
  #next = 1

  constructor(driver: 'ixgbe' | 'igb') {
    this.lab = new VfLab({ functions: [presets[driver]({ pci: pf, numVfs: 3 })] })
  }

  /** Another process, over the same kernel. */
  async start(): Promise<VfHost> {
    this.#life = new Life()
    const { logger, jobs } = createRuntime({ name: 'netns-wiring', host: 'a', version: 'test', log: { level: 'silent', pretty: false } })
    const life = this.#life
    const kernel = life.over(this.lab.kernel, ['removeLink'])
    // At each step of a program: what went before it is done.
    this.lab.kernel.before = () => {
      life.writes()
      if (life.dead) throw new Error('killed')
    }
    const sysfs = this.#life.over(this.lab.card.sysfs, ['bind', 'rebind', 'unbind', 'writeTrunk'])
    const context: HostContext = {
      host: 'a',
      version: 'test',
      kernel,
      bus: new MemoryBus({ hub: this.hub }),
      hostNs: 'own',
      vxlanPort: 4789,
      clock: systemClock,
      logger,
      jobs,
      underlay: undefined,
    }
    const surroundings = {
      namespaces: async () => [...this.lab.kernel.namespaces.keys()].filter((ns) => ns !== 'own'),
      users: async () => new Map<string, string>(),
      isNamed: () => true,
    }
    this.#host = new VfHost(context, sysfs, { vfReportMs: 1e9, vfRepairMs: 1e9, orphanGraceMs: 0 }, surroundings)
    const host = this.#host
    await within((call) => host.parts.reporter.now(call))
    return host
  }

  async attach(index: number, style: { vlan: number; mac: boolean; driver: string; docker: boolean; trunk: boolean }, dieAfter: number): Promise<void> {
    const pci = this.lab.vf(index)
    const host = this.#host
    if (host === undefined || this.allocator.claims.has(pci) || this.allocator.vfs.get(pci)?.state !== 'ready') return
    const id = `e${this.#next++}`
    const sandbox = style.docker ? '' : `/ns/${id}`
    if (sandbox !== '') this.lab.kernel.addNamespace(sandbox)
    const vf = this.allocator.claim(pci, id)
    const trunk = style.trunk && !style.docker && style.driver === '' ? [{ first: 7, last: 8 }] : []
    const endpoint = Endpoint.fromPartial({
      id,
      networkId: 'n1',
      mac: style.mac ? mac : (vf.baseline?.mac ?? ''),
      sandbox,
      interfaceName: 'net1',
      addresses: ['10.0.0.2/24'],
      vf: { pci, pf, settings: { ...(trunk.length > 0 ? {} : { vlan: style.vlan }), trunk }, baseline: vf.baseline, driver: style.driver },
    })
    this.#life.left = dieAfter
    try {
      await within((call) => host.endpoints.prepare(network, endpoint, call))
      await within((call) => host.endpoints.attach(network, endpoint, [], call))
      this.owned.set(id, endpoint)
    } catch {
      // The gateway undoes what failed; when the hands are gone, the sweep does.
      await this.detach(endpoint, Number.POSITIVE_INFINITY)
    }
    await this.#reborn()
  }

  /** As the gateway: the claim is freed once the hands have answered; else the sweep finds that nobody has the VF. */
  async detach(endpoint: Endpoint, dieAfter: number): Promise<void> {
    const host = this.#host
    if (host === undefined) return
    this.#life.left = Math.min(this.#life.left, dieAfter)
    const request = { endpointId: endpoint.id, networkId: 'n1', sandbox: endpoint.sandbox, interfaceName: 'net1', vf: endpoint.vf }
    this.owned.delete(endpoint.id)
    try {
      await within((call) => host.endpoints.detach(request, call))
      this.allocator.free(endpoint.vf?.pci ?? '')
    } catch {
      const pci = endpoint.vf?.pci ?? ''
      this.allocator.claims.set(pci, VfClaim.fromPartial({ ...this.allocator.claims.get(pci), releasing: true }))
    }
    await this.#reborn()
  }

  async repair(dieAfter: number): Promise<void> {
    this.#life.left = dieAfter
    const host = this.#host
    await within(async (call) => host?.repairs.round(call)).catch(() => {})
    await this.#reborn()
  }

  endSandbox(endpoint: Endpoint): void {
    if (endpoint.sandbox === '') return
    this.lab.kernel.endNamespace(endpoint.sandbox)
  }

  /** What is wrong now; empty: every VF is at its baseline, or owned and whole. */
  async wrongs(): Promise<string[]> {
    const host = await this.start()
    await within((call) => host.repairs.round(call))
    await within((call) => host.parts.reporter.now(call))
    const wrongs: string[] = []
    for (const pci of this.lab.vfs) {
      const endpoint = [...this.owned.values()].find((one) => one.vf?.pci === pci)
      if (endpoint === undefined) {
        if (this.allocator.claims.has(pci)) wrongs.push(`${pci} is still claimed`)
        this.lab.allocator.vfs.set(pci, this.allocator.vfs.get(pci) as never)
        wrongs.push(...this.lab.dirt(pci).map((dirt) => `${pci}: ${dirt}`))
        if (this.allocator.vfs.get(pci)?.state !== 'ready')
          wrongs.push(`${pci} is ${this.allocator.vfs.get(pci)?.state}: ${this.allocator.vfs.get(pci)?.reason}`)
      } else {
        const view = await within((call) => host.parts.cards.get(pci, call))
        const baseline = endpoint.vf?.baseline
        if (baseline === undefined) continue
        wrongs.push(...shapeDifferences(view, this.lab.card.find(pci)?.link, vfShape(network, endpoint, baseline)).map((difference) => `${pci}: ${difference}`))
      }
    }
    return wrongs
  }

  async #reborn(): Promise<void> {
    if (this.#life.dead) await this.start()
  }
}

const dies = fc.oneof({ arbitrary: fc.constant(Number.POSITIVE_INFINITY), weight: 1 }, { arbitrary: fc.nat({ max: 6 }), weight: 2 })
const step = fc.oneof(
  fc.record({
    do: fc.constant('attach' as const),
    index: fc.nat({ max: 2 }),
    dieAfter: dies,
    style: fc.record({
      vlan: fc.nat({ max: 9 }),
      mac: fc.boolean(),
      driver: fc.constantFrom('', '', '', 'vfio-pci'),
      docker: fc.boolean(),
      trunk: fc.boolean(),
    }),
  }),
  fc.record({ do: fc.constantFrom('detach' as const, 'end' as const, 'repair' as const, 'restart' as const), index: fc.nat({ max: 2 }), dieAfter: dies }),
)

for (const driver of ['ixgbe', 'igb'] as const) {
  test(`random attaches, detaches, ends of sandboxes and kills leave every VF of ${driver} at its baseline or owned`, async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
        const world = new World(driver)
        await world.allocator.start()
        await world.start()
        await world.start()
        try {
          for (const one of steps) {
            const owned = [...world.owned.values()][one.index]
            if (one.do === 'attach') await world.attach(one.index, one.style, one.dieAfter)
            else if (one.do === 'restart') await world.start()
            else if (one.do === 'repair') await world.repair(one.dieAfter)
            else if (owned !== undefined) {
              if (one.do === 'end') world.endSandbox(owned)
              await world.detach(owned, one.dieAfter)
            }
          }
          const wrongs = await world.wrongs()
          if (wrongs.length > 0) throw new Error(wrongs.join('\n'))
        } finally {
          world.lab.card.tree.remove()
        }
      }),
      { numRuns: Number(process.env['HEDDLE_RUNS'] ?? 60), includeErrorInReport: true },
    )
    t.pass()
  })
}
