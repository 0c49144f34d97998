import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import test from 'ava'
import { removeLeftovers } from './leftovers.ts'

const url = (name: string) => JSON.stringify(new URL(name, import.meta.url).href)

/** A laboratory as an engine leaves it: a mount in its directory, and a shim with a container, both deaf to the engine's end. */
const source = `
  const { withLab, startProgram } = await import(${url('./lab/index.ts')})
  const { privately } = await import(${url('./lab/privately.ts')})
  const { execFileSync } = await import('node:child_process')
  const { mkdirSync, readFileSync, existsSync } = await import('node:fs')
  await withLab(async ({ scope, dir }) => {
    for (const name of ['plugins', 'mounted']) mkdirSync(dir + '/' + name)
    execFileSync('mount', ['-t', 'tmpfs', 'none', dir + '/mounted'])
    const netns = 'hdleft-' + process.pid + '-sandbox'
    execFileSync('ip', ['netns', 'add', netns])
    await startProgram(scope, {
      name: 'engine',
      command: privately({ binds: { '/run/docker/plugins': dir + '/plugins' } }, ['sh', '-c', 'setsid sleep 611 & echo $!; wait']),
      logPath: dir + '/log',
      ready: (program) => /\\d+\\n/.test(program.log()),
    })
    console.log(JSON.stringify({ dir, netns, shim: Number(readFileSync(dir + '/log', 'utf8')) }))
    await new Promise((resolve) => setTimeout(resolve, 600_000))
  })`

function running(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}

test('what a killed laboratory left is removed: processes in mounts of their own, mounts, files and namespaces', async (t) => {
  const maker = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => maker.kill('SIGKILL'))
  const [line] = (await once(maker.stdout.setEncoding('utf8'), 'data')) as [string]
  const { dir, netns, shim } = JSON.parse(line) as { dir: string; netns: string; shim: number }
  removeLeftovers()
  t.true(running(shim) && existsSync(`${dir}/log`), 'what belongs to the living is left alone')
  maker.kill('SIGKILL')
  await once(maker, 'exit')
  t.true(running(shim))
  removeLeftovers()
  t.false(existsSync(dir))
  t.false(existsSync(`/run/netns/${netns}`))
  t.false(readFileSync('/proc/self/mounts', 'utf8').includes(dir))
  for (let tries = 0; running(shim) && tries < 500; tries++) await new Promise((resolve) => setTimeout(resolve, 10))
  t.false(running(shim))
})
