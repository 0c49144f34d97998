/** One vf-allocator replica in a process of its own: `node vf-replica.ts <nats url> <etcd url> [configuration as JSON]`; says `ready`, ends with its parent. */
import { connectBus } from '@heddle/bus'
import { eventSubjects, SpanBatch } from '@heddle/contract'
import { createRuntime } from '@heddle/runtime'
import { connectStore } from '@heddle/store'
import { vfAllocatorConfig, vfAllocatorService } from '@heddle/vf-allocator'

const [nats = '', etcd = '', config = '{}'] = process.argv.slice(2)
// Its peers are cut off and killed by the tests: what it says of that is expected.
const runtime = createRuntime({ name: 'vf-allocator', host: 'bench', version: 'bench', log: { level: 'fatal', pretty: true } })
const bus = await connectBus({ servers: [nats], name: 'vf-allocator', logger: runtime.logger })
// As a deployed brain hands its spans to the gateway that keeps the trace.
runtime.onSpans((origin, spans) => bus.publish(eventSubjects.spans(origin), SpanBatch, { spans: [...spans] }))
const store = connectStore({ endpoints: [etcd], logger: runtime.logger })
vfAllocatorService.build(runtime, { bus, store }, vfAllocatorConfig.parse(JSON.parse(config)))
await runtime.start()
process.once('disconnect', () => process.exit(0))
process.send?.('ready')
