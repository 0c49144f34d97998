/** A host with a made-up card: netns-wiring on a kernel in memory, with vf-allocator and networks in memory. Tests only. */
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, MemoryBus, MemoryHub } from '@heddle/bus'
import { busServices, Endpoint, Network, type VfSettings, type WiringDefinition } from '@heddle/contract'
import { randomId } from '@heddle/core'
import { createRuntime, type Jobs, type RuntimeControl } from '@heddle/runtime'
import { presets, type SysfsDescription } from '@heddle/testkit'
import type { ExecutionContext } from 'ava'
import { type WiringConfig, wiringConfig } from '../config.ts'
import { wiringService } from '../main.ts'
import { FakeAllocator } from './fake-allocator.ts'
import { FakeBrains } from './fake-brains.ts'
import { FakeCard } from './fake-card.ts'
import { FakeKernel } from './fake-kernel.ts'
import { until } from './lab.ts'

export const pf = '0000:3b:00.0'
export const network = Network.fromPartial({ id: 'n1', name: 'vfs', kind: 'sriov', sriov: {} })

export class VfLab {
  readonly hub = new MemoryHub()
  readonly kernel = new FakeKernel('/ns/c', '/ns/d')
  readonly card: FakeCard
  readonly allocator = new FakeAllocator(this.hub)
  readonly brains = new FakeBrains(this.hub)
  /** Who has a device node open. */
  user = ''
  readonly #config: Partial<WiringConfig>
  #runtime: RuntimeControl | undefined
  /** The search for dirty VFs at start is over. */
  #repaired: Promise<void> = Promise.resolve()

  constructor(description: SysfsDescription, config: Partial<WiringConfig> = {}) {
    this.kernel.uplink('mgmt0', '192.0.2.1/24')
    this.card = new FakeCard(this.kernel, description)
    this.#config = {
      runDir: join(tmpdir(), `heddle-fake-${randomId()}`),
      underlay: { interface: 'mgmt0' },
      vfReportMs: 3_600_000,
      vfRepairMs: 3_600_000,
      ...config,
    }
  }

  static async create(
    t: ExecutionContext,
    description: SysfsDescription = { functions: [presets.ixgbe({ pci: pf, numVfs: 4 })] },
    config: Partial<WiringConfig> = {},
  ): Promise<VfLab> {
    const lab = new VfLab(description, config)
    await lab.allocator.start()
    await lab.brains.start()
    await lab.start()
    t.teardown(async () => {
      await lab.stop()
      lab.card.tree.remove()
      rmSync(lab.#config.runDir ?? '', { recursive: true, force: true })
    })
    await lab.reported()
    return lab
  }

  async start(): Promise<void> {
    const runtime = createRuntime({
      name: 'netns-wiring',
      host: 'a',
      version: 'test',
      log: { level: process.env['WIRING_LOG'] === undefined ? 'silent' : 'debug', pretty: true },
    })
    const surroundings = {
      namespaces: async () => [...this.kernel.namespaces.keys()].filter((ns) => ns !== 'own'),
      users: async (groups: ReadonlySet<string>) => new Map([...groups].flatMap((group) => (this.user === '' ? [] : [[group, this.user] as const]))),
      isNamed: () => true,
    }
    const jobs: Jobs = {
      every: (name, intervalMs, task, options) => {
        if (name !== 'repair VFs') return runtime.jobs.every(name, intervalMs, task, options)
        this.#repaired = new Promise((resolve) => runtime.jobs.every(name, intervalMs, (signal) => task(signal).finally(resolve), options))
      },
      once: (name, task) => runtime.jobs.once(name, task),
      stop: () => runtime.jobs.stop(),
    }
    wiringService.build(
      Object.create(runtime, { jobs: { value: jobs } }),
      { bus: new MemoryBus({ hub: this.hub }), kernel: this.kernel, card: { sysfs: this.card.sysfs, surroundings } },
      wiringConfig.parse(this.#config),
    )
    await runtime.start()
    this.#runtime = runtime
    await this.#repaired
  }

  async stop(): Promise<void> {
    await this.#runtime?.stop()
    this.#runtime = undefined
  }

  get wiring(): Client<WiringDefinition> {
    return new MemoryBus({ hub: this.hub }).client(busServices.wiring, 'a')
  }

  get vfs(): readonly string[] {
    return this.card.tree.vfs(pf)
  }

  vf(index: number): string {
    return this.vfs[index] ?? ''
  }

  /** A report after now has been answered. */
  async reported(): Promise<void> {
    const { reports } = this.allocator
    this.kernel.tellDevice({ action: 'change', subsystem: 'pci', path: '/devices/pci0000:3b/0000:3b:00.0' })
    await until('a report', () => this.allocator.reports > reports)
  }

  /** Claims a VF for an endpoint, as the gateway does. */
  claim(index: number, id: string, settings: Partial<VfSettings> = {}, endpoint: Partial<Endpoint> = {}, driver = ''): Endpoint {
    const vf = this.allocator.claim(this.vf(index), id)
    return Endpoint.fromPartial({
      id,
      networkId: network.id,
      host: 'a',
      mac: vf.baseline?.mac ?? '',
      sandbox: '/ns/c',
      interfaceName: 'net1',
      addresses: ['10.0.0.2/24'],
      ...endpoint,
      vf: { pci: vf.pci, pf: vf.pf, settings, baseline: vf.baseline, driver, iommuGroup: vf.iommuGroup },
    })
  }

  /** What differs from the baseline, by the card's own word; empty when nothing does. */
  dirt(pci: string): string[] {
    const baseline = this.allocator.vfs.get(pci)?.baseline
    const found = this.card.find(pci)
    const info = this.card.info(pci)
    const should = baseline?.settings
    const pairs: [string, unknown, unknown][] = [
      ['driver', this.card.driver(pci), baseline?.driver],
      ['ns', found?.ns, 'own'],
      ['name', found?.link.name, baseline?.name],
      ['mac', found?.link.mac, baseline?.mac],
      ['mtu', found?.link.mtu, should?.mtu],
      ['alias', found?.link.alias, ''],
      ['up', found?.link.up, false],
      ['admin mac', info.mac, should?.mac],
      ['vlan', info.vlan, should?.vlan],
      ['qos', info.qos, should?.vlanQos],
      ['protocol', info.protocol, should?.vlanProto],
      ['max', info.maxTxRate, should?.maxTxRate],
      ['spoofchk', info.spoofchk, should?.spoofchk],
      ['trust', info.trust, should?.trust],
      ['link state', info.linkState, should?.linkState],
    ]
    return pairs.flatMap(([name, is, wanted]) => (is === wanted ? [] : [`${name} ${String(is)}, not ${String(wanted)}`]))
  }
}
