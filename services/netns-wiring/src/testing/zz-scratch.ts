import { spawn } from 'node:child_process'
import { Lab, inside, within } from './lab.ts'
const lab = await Lab.create(['h1','h2'])
try {
const one = await lab.start('h1')
const lan = lab.brains.network({ id: 'lan', kind: 'bridge', pools: [{poolId:'a',prefix:'10.9.0.0/24',gateway:'10.9.0.1'},{poolId:'b',prefix:'fd09::/64',gateway:'fd09::1'}] })
const web = await lab.attach(one, lan, 'web', ['10.9.0.2/24', 'fd09::2/64'], [{destination:'0.0.0.0/0',gateway:'10.9.0.1'},{destination:'::/0',gateway:'fd09::1'}])
const server = spawn('nsenter', [`--net=${web.sandbox}`, 'node', '-e', 'require("http").createServer((_, answer) => answer.end("woven")).listen(80)'])
lab.defer(() => server.kill())
await new Promise(r=>setTimeout(r,500))
console.log(await within((call) => one.wiring.publishPorts({ endpointId: 'web', network: lan, addresses: web.addresses, ports: [{protocol:'tcp',hostPort:8080,containerPort:80}] }, call)))
const get = async (ns: string, u: string) => { try { console.log(u, await inside(ns, 'curl','--noproxy','*','-sgm','2',u)) } catch (e) { console.log(u, String(e).slice(0,300)) } }
await get(one.lab.path, 'http://10.9.0.2/')
await get(lab.host('h2').path, `http://${lab.host('h1').address}:8080/`)
await get(one.lab.path, `http://127.0.0.1:8080/`)
await get(one.lab.path, `http://${lab.host('h1').address}:8080/`)
console.log(await inside(one.lab.path, 'nft', 'list', 'table', 'inet', 'heddle'))
console.log(await inside(one.lab.path, 'nft', '--debug=netlink', 'list', 'map', 'inet', 'heddle', 'any4'))
} finally { await lab.close() ; process.exit() }
