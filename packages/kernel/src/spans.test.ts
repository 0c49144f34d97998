import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { HeddleError } from '@heddle/core'
import { type Attributes, type Span, trace } from '@opentelemetry/api'
import test from 'ava'
import { openKernel } from './open.ts'
import { withScratch } from './testing/namespaces.ts'
import type { Step } from './types.ts'

interface Recorded {
  readonly name: string
  readonly attributes: Attributes
  readonly startMs: number
  endMs: number
  failed: boolean
}
const recorded: Recorded[] = []
trace.setGlobalTracerProvider({
  getTracer: () => ({
    startSpan(name, options) {
      const span: Recorded = { name, attributes: options?.attributes ?? {}, startMs: Number(options?.startTime), endMs: 0, failed: false }
      recorded.push(span)
      return {
        setStatus: () => {
          span.failed = true
        },
        end: (time: number) => {
          span.endMs = time
        },
      } as unknown as Span
    },
    startActiveSpan: () => {
      throw new Error('no ambient spans')
    },
  }),
})

const kernel = openKernel()
test.after.always(() => kernel.close())

test.serial('every step is a span with its time on the thread, entries of one send are one, and the failed one says why', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    recorded.length = 0
    const entries = Array.from(
      { length: 20 },
      (_, number): Step => ({ op: 'neighbour.replace', ns, name: 'br0', address: `10.0.0.${number}`, mac: '02:00:00:00:00:01' }),
    )
    const program: Step[] = [
      { op: 'bridge.add', ns, name: 'br0' },
      { op: 'link.set', ns, name: 'br0', up: true },
      ...entries,
      { op: 'bridge.add', ns, name: 'br0' },
    ]
    await t.throwsAsync(kernel.run(program, call))
    await kernel.link(ns, 'br0', call)
    t.deepEqual(
      recorded.map(({ name, failed, attributes }) => `${name} ${attributes['heddle.link']} ${attributes['heddle.entries'] ?? 1} ${failed}`),
      [
        'netlink bridge.add br0 1 false',
        'netlink link.set br0 1 false',
        'netlink neighbour.replace br0 20 false',
        'netlink bridge.add br0 1 true',
        'netlink link.get br0 1 false',
      ],
    )
    for (const [index, span] of recorded.entries()) t.true(span.endMs >= span.startMs && span.startMs >= (recorded[index - 1]?.endMs ?? 0))
  }),
)

test.serial('a move, the settings of a VF and the reading of VFs are spans, with the VF', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const [host, sandbox] = [await namespace(), await namespace()]
    await kernel.run([{ op: 'veth.add', ns: host, name: 'a', peer: { ns: host, name: 'b' } }], call)
    recorded.length = 0
    const program: Step[] = [
      { op: 'link.move', ns: host, name: 'a', to: sandbox },
      { op: 'vf.set', ns: sandbox, name: 'a', vf: 3, trust: true },
    ]
    await t.throwsAsync(kernel.run(program, call))
    await kernel.vfs(sandbox, 'a', call)
    t.deepEqual(
      recorded.map(({ name, failed, attributes }) => `${name} ${attributes['heddle.link']} ${attributes['heddle.vf'] ?? ''} ${failed}`),
      ['netlink link.move a  false', 'netlink vf.set a 3 true', 'netlink vf.get a  false'],
    )
  }),
)

test.serial('a request that its caller gave up is a span that failed', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    recorded.length = 0
    const caller = new AbortController()
    const given = { ...call, signal: caller.signal }
    const work = [kernel.run([{ op: 'bridge.add', ns, name: 'br0' }], given), kernel.links(ns, given)]
    caller.abort(new HeddleError('cancelled', 'the caller went away'))
    for (const outcome of await Promise.allSettled(work)) t.is(outcome.status, 'rejected')
    t.deepEqual(
      recorded.map(({ name, failed }) => `${name} ${failed}`),
      ['netlink program true', 'netlink link.dump true'],
    )
  }),
)

test.serial('the probe finds what this machine has and leaves nothing behind', (t) =>
  withScratch(kernel, async ({ call }) => {
    const features = await kernel.probe(call)
    for (const name of ['network namespaces', 'bridge', 'veth', 'vxlan', 'bridge neigh_suppress', 'nftables'])
      t.like(
        features.find((feature) => feature.name === name),
        { present: true },
        name,
      )
    for (const name of ['macvlan', 'ipvlan', '802.1Q VLAN']) {
      const feature = features.find((one) => one.name === name)
      t.true(feature?.present || /makes no/.test(feature?.detail ?? ''), name)
    }
    t.deepEqual(
      readdirSync(tmpdir()).filter((name) => name.startsWith('heddle-probe-')),
      [],
    )
  }),
)
