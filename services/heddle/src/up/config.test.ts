import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { chosenServices } from './catalogue.ts'
import { loadUpConfig, sectionOf } from './config.ts'
import { serviceGraph } from './graph.ts'

function fileWith(t: import('ava').ExecutionContext, text: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-config-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'heddle.yaml')
  writeFileSync(file, text)
  return file
}

test('services are started brains first and the door last, however they are named', (t) => {
  t.deepEqual(chosenServices(['gateway', 'overlay', 'ipam', 'gateway']), ['ipam', 'overlay', 'gateway'])
  t.deepEqual(chosenServices(['brains']), ['ipam', 'networks', 'overlay', 'vf-allocator'])
  t.deepEqual(chosenServices(['host']), ['netns-wiring', 'gateway'])
  t.deepEqual(chosenServices(['all']), ['ipam', 'networks', 'overlay', 'vf-allocator', 'netns-wiring', 'gateway'])
})

test('a service that does not exist is refused with those that do', (t) => {
  const error = t.throws(() => chosenServices(['gatway']), { instanceOf: HeddleError })
  t.regex(error?.sentence ?? '', /"gatway".*gateway/)
})

test('a file is overruled by variables, and both by flags', async (t) => {
  const file = fileWith(t, 'services: [ipam]\nipam: { graceMs: 1000, sweepIntervalMs: 2000, provisionalGraceMs: 3000 }\n')
  const { effective } = await loadUpConfig({
    file,
    env: { HEDDLE_IPAM_SWEEP_INTERVAL_MS: '2222', HEDDLE_IPAM_PROVISIONAL_GRACE_MS: '3333' },
    flags: ['ipam.provisionalGraceMs=4444'],
  })
  t.like(effective['ipam'], { graceMs: 1000, sweepIntervalMs: 2222, provisionalGraceMs: 4444 })
})

test('sections of services that run elsewhere are not looked at, of those that run here to the letter', async (t) => {
  const file = fileWith(t, 'ipam: { nonsense: 1 }\nwiring: { vxlanPort: 4790 }\n')
  const host = await loadUpConfig({ file, env: { HEDDLE_IPAM_NONSENSE: '1' }, flags: ['services=netns-wiring', 'ipam.nonsense=2'] })
  t.deepEqual(
    host.services.map((service) => service.name),
    ['netns-wiring'],
  )
  t.like(sectionOf(host, 'netns-wiring'), { vxlanPort: 4790 })
  const error = await t.throwsAsync(loadUpConfig({ file, env: {}, flags: ['services=ipam'] }), { instanceOf: HeddleError })
  t.is(error?.code, 'invalid-argument')
  t.regex(error?.message ?? '', /nonsense/)
})

test('sockets and namespaces of every service are in the one run directory', async (t) => {
  const config = await loadUpConfig({ env: {}, flags: ['services=netns-wiring', 'runDir=/run/elsewhere'] })
  t.is(sectionOf(config, 'netns-wiring')['runDir'], '/run/elsewhere')
  await t.throwsAsync(loadUpConfig({ env: {}, flags: ['services=netns-wiring', 'wiring.runDir=/x'] }), { message: /wiring\.runDir/ })
})

test("variables of the command and of the CNI launcher are no settings, and no reason to refuse either, unlike a gateway's misspelt", async (t) => {
  const env = { HEDDLE_SOCKET: '/run/x.sock', HEDDLE_CNI_SOCKET: '/run/cni.sock', HEDDLE_CNI_TIMEOUT_MS: '5000' }
  await t.notThrowsAsync(loadUpConfig({ env, flags: [] }))
  await t.throwsAsync(loadUpConfig({ env: { HEDDLE_CNI_SOKET: '' }, flags: [] }), { message: /HEDDLE_CNI_SOKET/ })
})

test('the passwords of NATS are in no print of the configuration, and in what is connected with', async (t) => {
  const servers = ['nats://host:s3cret@10.0.0.1:4222', 'nats://host:s3cret@10.0.0.2:4222']
  const config = await loadUpConfig({ env: { HEDDLE_NATS_SERVERS: servers.join(',') }, flags: ['services=host'] })
  t.notRegex(JSON.stringify(config.effective) + serviceGraph(config), /s3cret/)
  t.like(config.effective['nats'], { servers: ['nats://host:***@10.0.0.1:4222', 'nats://host:***@10.0.0.2:4222'] })
  t.deepEqual(config.roof.nats.servers, servers)
})
