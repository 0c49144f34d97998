/**
 * Figures of packages/kernel on this machine: a whole attachment as one program, deletions one by one and in crowds,
 * table entries a second, and what the netlink thread costs in memory. `node test/bench/kernel.ts`; needs root.
 */
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { type Call, withCall } from '@heddle/core'
import { type Kernel, type Namespace, openKernel, type Step } from '@heddle/kernel'

const rssMiB = () => process.memoryUsage().rss / 2 ** 20
const path = (name: string) => `${tmpdir()}/heddle-bench-${randomBytes(4).toString('hex')}-${name}`
const rows: { what: string; p50: string; p99: string; unit: string }[] = []

function report(what: string, unit: string, samples: number[]): void {
  samples.sort((a, b) => a - b)
  const at = (share: number) => (samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0).toFixed(unit === 'ms' ? 2 : 1)
  rows.push({ what, p50: at(0.5), p99: at(0.99), unit })
}

async function timed(body: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await body()
  return performance.now() - start
}

const attachment = (fabric: Namespace, sandbox: Namespace, number: number): Step[] => [
  {
    op: 'veth.add',
    ns: fabric,
    name: `v${number}`,
    master: 'br0',
    up: true,
    alias: `heddle:${number}`,
    peer: { ns: sandbox, name: `eth${number}`, mac: '02:00:00:00:00:01', up: true },
  },
  { op: 'address.replace', ns: sandbox, name: `eth${number}`, address: `10.0.${number % 250}.2/24` },
  { op: 'route.replace', ns: sandbox, name: `eth${number}`, destination: `10.${1 + (number % 250)}.0.0/16`, gateway: `10.0.${number % 250}.1` },
]

async function attachments(kernel: Kernel, fabric: Namespace, sandbox: Namespace, call: Call): Promise<void> {
  const adds: number[] = []
  const removes: number[] = []
  for (let number = 0; number < 200; number++) {
    adds.push(await timed(() => kernel.run(attachment(fabric, sandbox, number), call)))
    removes.push(await timed(() => kernel.removeLink(fabric, `v${number}`, call)))
  }
  report('veth + port + alias + up + address + route, one program', 'ms', adds)
  report('link deletion, until its notification', 'ms', removes)
  const numbers = Array.from({ length: 50 }, (_, index) => index)
  const all = await timed(() => Promise.all(numbers.map((number) => kernel.run(attachment(fabric, sandbox, number), call))))
  report('the same, 50 at once, each', 'ms', [all / 50])
  report('50 deletions at once, all answered', 'ms', [await timed(() => Promise.all(numbers.map((number) => kernel.removeLink(fabric, `v${number}`, call))))])
}

async function entries(kernel: Kernel, fabric: Namespace, call: Call): Promise<void> {
  await kernel.run([{ op: 'vxlan.add', ns: fabric, socketNs: fabric, name: 'x0', vni: 1, local: '127.0.0.1', port: 4789, master: 'br0', up: true }], call)
  const steps: Step[] = []
  for (let number = 0; number < 10_000; number++) {
    const low = [(number >> 8) & 0xff, number & 0xff]
    const mac = `02:00:00:00:${low.map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`
    steps.push(
      { op: 'fdb.vxlan.replace', ns: fabric, name: 'x0', mac, destination: '192.0.2.1' },
      { op: 'fdb.bridge.replace', ns: fabric, name: 'x0', mac },
      { op: 'neighbour.replace', ns: fabric, name: 'br0', address: `10.1.${low.join('.')}`, mac },
    )
  }
  report('table entries a second, in thousands', 'k/s', [steps.length / (await timed(() => kernel.run(steps, call)))])
  const link = await kernel.link(fabric, 'x0', call)
  report('reading 20,000 forwarding entries back', 'ms', [await timed(() => kernel.neighbours(fabric, link?.index, call))])
}

const fabric = { path: path('fabric') }
const sandbox = { path: path('sandbox') }
const before = rssMiB()
const kernel = openKernel({ residents: [fabric.path] })
await withCall({ timeoutMs: 60_000 }, async (call) => {
  await kernel.links('own', call)
  const started = rssMiB()
  await kernel.createNamespace(fabric.path, call)
  await kernel.createNamespace(sandbox.path, call)
  try {
    await kernel.run([{ op: 'bridge.add', ns: fabric, name: 'br0', up: true }], call)
    await attachments(kernel, fabric, sandbox, call)
    const attached = rssMiB()
    await entries(kernel, fabric, call)
    rows.push({
      what: 'resident memory: without, with the thread, after attachments, after 30,000 entries',
      p50: [before, started, attached, rssMiB()].map((mib) => mib.toFixed(0)).join(', '),
      p99: '',
      unit: 'MiB',
    })
  } finally {
    await kernel.deleteNamespace(fabric.path, call)
    await kernel.deleteNamespace(sandbox.path, call)
  }
})
await kernel.close()
console.table(rows)
