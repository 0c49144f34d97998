/** One ipam replica in a process of its own: `node ipam-replica.ts <nats url> <etcd url>`; says `ready`, ends with its parent. */
import { connectBus } from '@heddle/bus'
import { ipamConfig, ipamService } from '@heddle/ipam'
import { createRuntime } from '@heddle/runtime'
import { connectStore } from '@heddle/store'

const [nats = '', etcd = ''] = process.argv.slice(2)
const runtime = createRuntime({ name: 'ipam', host: 'bench', version: 'bench', log: { level: 'error', pretty: true } })
const bus = await connectBus({ servers: [nats], name: 'ipam', logger: runtime.logger })
ipamService.build(runtime, { bus, store: connectStore({ endpoints: [etcd], logger: runtime.logger }) }, ipamConfig.parse({}))
await runtime.start()
process.once('disconnect', () => process.exit(0))
process.send?.('ready')
