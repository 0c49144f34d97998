// kill -9 of the hands on a real driver, at any step of attach and of detach: every VF ends at its baseline, or owned and whole.
import { join } from 'node:path'
import { type HeddleProcess, LabScope, labDirectory } from '@heddle/testkit'
import test from 'ava'
import { seededRandom } from '../chaos/random.ts'
import { startContainer } from './rig/container.ts'
import { type Host, startControl, startHost, startUnit, type Unit } from './rig/host.ts'
import { allReady, shapeOf } from './rig/vfs.ts'

const { seed } = seededRandom()
const wanted = Number(process.env['HEDDLE_RUNS'] ?? 200)
// To heddle they would be settings it does not know.
for (const name of ['HEDDLE_SEED', 'HEDDLE_RUNS']) delete process.env[name]

const vfs = 7
const scope = new LabScope()
let control: HeddleProcess
let host: Host
let heddle: Unit

test.before(async () => {
  const dir = labDirectory(scope)
  control = await startControl(scope, join(dir, 'control'))
  host = await startHost(scope, { name: 'h1', dir: join(dir, 'h1'), control, vfs })
  heddle = host.heddle
})
test.after.always(() => scope.close())

test.serial('a host that is killed in the middle of an ADD, once its VF is set, gives the VF back with the DEL, and can be asked again', async (t) => {
  const { guest } = host
  const before = (await allReady(control, 'h1', vfs)).map(shapeOf)
  const config = { name: 'cards', pf: 'eth0', vlan: 100, mac: '02:00:00:00:00:77', ipam: { type: 'heddle', subnet: '10.84.0.0/16' } }
  const container = await startContainer(guest, 'killed')
  const killed = guest.run(`until ip link show eth0 | grep -q 'vlan 100'; do :; done; kill -9 ${heddle.pid}`)
  const adding = container.cni('ADD', config)
  await killed
  heddle = await startUnit(guest, 'heddle', ['host'])
  t.not((await adding).code, 0, 'whoever asked is told that nobody answered')
  await container.remove(config)
  t.deepEqual((await allReady(control, 'h1', vfs)).map(shapeOf), before)
  t.deepEqual(await control.json(['endpoint', 'ls']), [])
  t.is((await container.run('ls /sys/class/net')).trim(), 'lo')

  const { result } = await container.add(config)
  t.deepEqual(await container.cni('CHECK', { ...config, prevResult: result }), { code: 0, json: undefined })
  await container.remove(config)
  t.deepEqual((await allReady(control, 'h1', vfs)).map(shapeOf), before)
})

/** Each of these steps must have been hit, by what could be seen of the VF. */
const mainSteps = [
  ...['attaching: at its baseline', 'attaching: set', 'attaching: without netdev', 'attaching: moved into the sandbox'],
  ...['detaching: configured in the sandbox', 'detaching: taken out', 'detaching: bound to vfio-pci'],
  ...['attaching, sandbox gone', 'detaching, sandbox gone'],
]

test.serial('hands that are killed at 200 random points of attach and of detach leave every VF at its baseline or owned', async (t) => {
  t.log(`HEDDLE_SEED=${seed}`)
  // Its own hands would put back what they know of no claim for.
  await heddle.stop()
  const { points, wrong, ...seen } = JSON.parse(await host.guest.run(`HEDDLE_SEED=${seed} node /proj/kill.js ${wanted}`, { timeoutMs: 420_000 }))
  t.log(JSON.stringify(seen))
  t.is(wrong, '')
  t.true(points >= wanted)
  const hit = Object.keys(seen.steps)
  for (const step of mainSteps) t.true(hit.some((one) => one.startsWith(step)) || wanted < 200, `${step}: never hit`)
})
