/** One ipam replica in a process of its own: `node ipam-replica.ts <nats url> <etcd url>`; says `ready`, ends with its parent. */
import { connectBus } from '@heddle/bus'
import { eventSubjects, SpanBatch } from '@heddle/contract'
import { ipamConfig, ipamService } from '@heddle/ipam'
import { createRuntime } from '@heddle/runtime'
import { connectStore } from '@heddle/store'

const [nats = '', etcd = ''] = process.argv.slice(2)
const runtime = createRuntime({ name: 'ipam', host: 'bench', version: 'bench', log: { level: 'error', pretty: true } })
const bus = await connectBus({ servers: [nats], name: 'ipam', logger: runtime.logger })
// As a deployed brain hands its spans to the gateway that keeps the trace.
runtime.onSpans((origin, spans) => bus.publish(eventSubjects.spans(origin), SpanBatch, { spans: [...spans] }))
ipamService.build(runtime, { bus, store: connectStore({ endpoints: [etcd], logger: runtime.logger }) }, ipamConfig.parse({}))
await runtime.start()
process.once('disconnect', () => process.exit(0))
process.send?.('ready')
