/** Our hands without bus and etcd: the parts of netns-wiring that Prepare, Attach and Detach call, and a vf-allocator in memory. */
import { setTimeout as delay } from 'node:timers/promises'
import { MemoryBus, MemoryHub } from '@heddle/bus'
import { Endpoint, Network, type VfBaseline } from '@heddle/contract'
import { type Call, systemClock } from '@heddle/core'
import type { Kernel, Sysfs } from '@heddle/kernel'
import { createRuntime } from '@heddle/runtime'
import type { HostContext } from '../../../../services/netns-wiring/src/host-context.ts'
import { FakeAllocator } from '../../../../services/netns-wiring/src/testing/fake-allocator.ts'
import { VfHost } from '../../../../services/netns-wiring/src/vf/host.ts'
import type { Attached } from './attached.ts'

const host = 'bench'
const network = Network.fromPartial({ id: 'n1', name: 'vfs', kind: 'sriov', sriov: {} })
const never = 2 ** 30

export class Hands {
  readonly #vfs: VfHost
  readonly #allocator: FakeAllocator
  #count = 0

  private constructor(vfs: VfHost, allocator: FakeAllocator) {
    this.#vfs = vfs
    this.#allocator = allocator
  }

  /** Resolves when a baseline of the VF is recorded. */
  static async start(kernel: Kernel, sysfs: Sysfs, pci: string, call: Call): Promise<Hands> {
    const hub = new MemoryHub()
    const allocator = await new FakeAllocator(hub).start()
    const runtime = createRuntime({ name: 'netns-wiring', host, version: 'bench', log: { level: 'warn', pretty: true } })
    await runtime.start()
    const { logger, jobs } = runtime
    const context: HostContext = {
      ...{ host, version: 'bench', kernel, bus: new MemoryBus({ hub }), vxlanPort: 4789, clock: systemClock, logger, jobs },
      hostNs: 'own',
      underlay: undefined,
    }
    const vfs = new VfHost(context, sysfs, { vfReportMs: never, vfRepairMs: never, orphanGraceMs: never })
    const hands = new Hands(vfs, allocator)
    while (hands.baseline(pci) === undefined) await vfs.parts.reporter.now(call)
    return hands
  }

  baseline(pci: string): VfBaseline | undefined {
    return this.#allocator.vfs.get(pci)?.baseline
  }

  async attach({ pci, sandbox, ifname, settings, mac, address, gateway }: Attached, call: Call): Promise<void> {
    const { vlan, rate, spoofchk, trust } = settings
    const claimed = this.#allocator.vfs.get(pci)
    if (claimed?.baseline === undefined) throw new Error(`no baseline of VF ${pci} is recorded`)
    const asked = { vlan: vlan.id, vlanQos: vlan.qos, vlanProto: vlan.protocol, minTxRate: rate.min, maxTxRate: rate.max, spoofchk, trust }
    const endpoint = Endpoint.fromPartial({
      ...{ id: `e${++this.#count}`, networkId: network.id, host, sandbox: sandbox.path, interfaceName: ifname, addresses: [address] },
      mac: mac ?? claimed.baseline.mac,
      vf: { pci, pf: claimed.pf, baseline: claimed.baseline, settings: mac === undefined ? asked : { ...asked, mac } },
    })
    await this.#vfs.endpoints.prepare(network, endpoint, call)
    await this.#vfs.endpoints.attach(network, endpoint, [{ destination: '0.0.0.0/0', gateway }], call)
  }

  async detach({ sandbox, ifname }: Attached, call: Call): Promise<void> {
    const endpointId = `e${this.#count}`
    await this.#vfs.endpoints.detach({ endpointId, networkId: network.id, sandbox: sandbox.path, interfaceName: ifname, vf: undefined }, call)
  }

  /** Waits for what comes behind the answer of `operation`: the report of what has changed. */
  async settled(operation: () => Promise<void>): Promise<void> {
    const before = this.#allocator.reports
    await operation()
    while (this.#allocator.reports === before) await delay(20)
  }
}
