/**
 * `node victim.js`: the hands of a host in a process of their own, to be killed at any moment. Says `standby` when everything is loaded and
 * then takes orders, a line of JSON each, several at once, each answered by a line: what `kill/orders.ts` says. The vf-allocator it reports
 * to is in it too, and knows what the first order says: what would be in etcd.
 */
import { createInterface } from 'node:readline'
import { MemoryBus, MemoryHub } from '@heddle/bus'
import { Endpoint, Network, Vf } from '@heddle/contract'
import { type Call, HeddleError, sleep, systemClock, withCall } from '@heddle/core'
import { openKernel, openSysfs } from '@heddle/kernel'
import { createRuntime } from '@heddle/runtime'
import type { HostContext } from '../../../services/netns-wiring/src/host-context.ts'
import { FakeAllocator } from '../../../services/netns-wiring/src/testing/fake-allocator.ts'
import { VfHost } from '../../../services/netns-wiring/src/vf/host.ts'
import { type Answer, host, networkId, type Order } from './kill/orders.ts'

const never = 2 ** 30
const network = Network.fromPartial({ id: networkId, name: 'vfs', kind: 'sriov', sriov: {} })
const hub = new MemoryHub()
const allocator = await new FakeAllocator(hub).start()
const runtime = createRuntime({ name: 'netns-wiring', host, version: 'victim', log: { level: 'warn', pretty: true } })
await runtime.start()
const context: HostContext = {
  ...{ host, version: 'victim', kernel: openKernel({}), bus: new MemoryBus({ hub }), vxlanPort: 4789, clock: systemClock },
  ...{ logger: runtime.logger, jobs: runtime.jobs, hostNs: 'own', underlay: undefined },
}
const vfs = new VfHost(context, openSysfs(), { vfReportMs: never, vfRepairMs: never, orphanGraceMs: 0 })

const recorded = () => [...allocator.vfs.values()].map((vf) => Vf.fromPartial({ ...vf, claim: allocator.claims.get(vf.pci) }))
const doing: { readonly [K in Order['do']]: (order: Extract<Order, { do: K }>, call: Call) => Promise<Vf[]> } = {
  async start(order, call) {
    for (const vf of order.vfs.map((json) => Vf.fromJSON(json))) {
      allocator.vfs.set(vf.pci, vf)
      if (vf.claim !== undefined) allocator.claims.set(vf.pci, vf.claim)
    }
    await vfs.start(call)
    return []
  },
  async settle(_, call) {
    const isSettled = () => allocator.vfs.size > 0 && recorded().every(({ baseline, claim }) => baseline !== undefined && claim?.releasing !== true)
    while (allocator.reports === 0 || !isSettled()) await sleep(call.clock, 20, call.signal)
    return recorded()
  },
  async attach(order, call) {
    const endpoint = Endpoint.fromJSON(order.endpoint)
    allocator.claim(endpoint.vf?.pci ?? '', endpoint.id)
    await vfs.endpoints.prepare(network, endpoint, call)
    await vfs.endpoints.attach(network, endpoint, [{ destination: '0.0.0.0/0', gateway: order.gateway }], call)
    return []
  },
  async detach(order, call) {
    const { id, sandbox, interfaceName, vf } = Endpoint.fromJSON(order.endpoint)
    await vfs.endpoints.detach({ endpointId: id, networkId, sandbox, interfaceName, vf }, call)
    allocator.free(vf?.pci ?? '')
    return []
  },
}

const say = (answer: Answer | 'standby') => process.stdout.write(`${JSON.stringify(answer)}\n`)
say('standby')
for await (const line of createInterface(process.stdin)) void answer(JSON.parse(line) as Order)

async function answer(order: Order): Promise<void> {
  const body = doing[order.do] as (order: Order, call: Call) => Promise<Vf[]>
  try {
    const found = await withCall({ timeoutMs: 60_000 }, (call) => body(order, call))
    say({ number: order.number, vfs: found.map((vf) => Vf.toJSON(vf)) })
  } catch (error) {
    say({ number: order.number, vfs: [], error: HeddleError.from(error).message })
  }
}
