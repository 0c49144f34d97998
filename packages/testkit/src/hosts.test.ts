import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import test from 'ava'
import { createUnderlay } from './hosts.ts'

test('hosts of an underlay reach each other over IPv4 and IPv6, and nothing of it stays', async (t) => {
  const underlay = createUnderlay({ hosts: 3, mtu: 1400 })
  t.teardown(underlay.remove)
  const [first, , third] = underlay.hosts
  if (first === undefined || third === undefined) return t.fail()
  await t.notThrowsAsync(underlay.exec(0, ['busybox', 'ping', '-c1', '-W2', third.address]))
  await t.notThrowsAsync(underlay.exec(2, ['busybox', 'ping', '-6', '-c1', '-W2', first.address6]))
  t.regex(String((await underlay.exec(0, ['ip', 'link', 'show', 'eth0'])).stdout), /mtu 1400/)
  await t.throwsAsync(underlay.exec(0, ['false']))
  underlay.remove()
  t.false(existsSync(first.path))
  t.deepEqual(
    readdirSync('/run/netns').filter((name) => name.startsWith(`hdt-${process.pid}-`)),
    [],
  )
})

test('what a killed test left is removed by the next underlay', (t) => {
  const script = `import { createUnderlay } from ${JSON.stringify(new URL('./hosts.ts', import.meta.url).href)}; console.log(createUnderlay({ hosts: 1 }).hosts[0].name); process.kill(process.pid, 'SIGKILL')`
  const name = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).stdout.trim()
  t.true(existsSync(`/run/netns/${name}`), name)
  createUnderlay({ hosts: 1 }).remove()
  t.false(existsSync(`/run/netns/${name}`))
})
