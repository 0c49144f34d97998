import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import test from 'ava'
import { startFaultProxy } from '../proxy.ts'
import { startEtcd, startNats } from './index.ts'

const run = promisify(execFile)

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('etcd keeps its port and its data over a kill, and stop removes both', async (t) => {
  const etcd = await startEtcd()
  await run('etcdctl', ['--endpoints', etcd.url, 'put', 'a', 'b'], { env: { ...process.env, ETCDCTL_API: '3' } })
  const before = etcd.pid
  await etcd.kill()
  t.false(alive(before))
  await etcd.restart()
  const proxy = await startFaultProxy({ target: etcd.url })
  const { stdout } = await run('etcdctl', ['--endpoints', proxy.url, 'get', 'a'], { env: { ...process.env, ETCDCTL_API: '3' } })
  t.is(stdout, 'a\nb\n')
  await proxy.close()
  await etcd.stop()
  t.false(alive(etcd.pid))
  t.false(existsSync(etcd.dataDir))
})

test('a port that was asked for and is taken is reported', async (t) => {
  const nats = await startNats()
  await t.throwsAsync(startNats({ port: nats.port }), { message: /address already in use/ })
  await nats.stop()
})

test('a server runs in the network namespace it is given', async (t) => {
  const holder = spawn('unshare', ['--net', 'sh', '-c', 'ip link set lo up; echo up; exec sleep 60'], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => holder.kill('SIGKILL'))
  await once(holder.stdout, 'data')
  const nats = await startNats({ netns: `/proc/${holder.pid}/ns/net` })
  t.teardown(() => nats.stop())
  const { stdout } = await run('nsenter', [`--net=/proc/${holder.pid}/ns/net`, 'ss', '-Hltn', `sport = :${nats.port}`])
  t.regex(stdout, /LISTEN/)
  t.is((await run('ss', ['-Hltn', `sport = :${nats.port}`])).stdout, '')
})

test('no server and no directory outlives a test process that is killed', async (t) => {
  const source = `const { startNats } = await import(${JSON.stringify(new URL('./index.ts', import.meta.url).href)})
    const nats = await startNats(); console.log(nats.pid + ' ' + nats.dataDir); setInterval(() => {}, 1000)`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(parent.stdout.setEncoding('utf8'), 'data')) as [string]
  const [pidText, dataDir] = line.trim().split(' ') as [string, string]
  const pid = Number(pidText)
  t.true(alive(pid))
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  for (let tries = 0; (alive(pid) || existsSync(dataDir)) && tries < 500; tries++) await new Promise((resolve) => setTimeout(resolve, 10))
  t.false(alive(pid))
  t.false(existsSync(dataDir))
})
