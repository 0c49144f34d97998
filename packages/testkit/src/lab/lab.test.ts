/** The laboratory without Heddle: what it starts works with the engines' own networks, and nothing stays. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { createUnderlay } from '../hosts.ts'
import { buildImage, LabError, LabScope, run, startContainerd, startDockerd, startProgram, whyNoContainers, withLab } from './index.ts'

test('dockerd and containerd run containers side by side in namespaces, and leave neither process nor mount behind', async (t) => {
  const reason = await whyNoContainers()
  if (reason !== undefined) {
    t.log(`skipped: ${reason}`)
    return t.pass()
  }
  let labDir = ''
  await withLab(async ({ scope, dir }) => {
    labDir = dir
    const underlay = createUnderlay({ hosts: 2 })
    scope.defer('underlay', () => underlay.remove())
    const [host1, host2] = underlay.hosts.map((host) => host.path)
    for (const name of ['docker', 'containerd', 'bin', 'net.d']) mkdirSync(join(dir, name))
    for (const plugin of ['bridge', 'host-local']) {
      copyFileSync(`/usr/lib/cni/${plugin}`, join(dir, 'bin', plugin))
      chmodSync(join(dir, 'bin', plugin), 0o755)
    }
    const ipam = { type: 'host-local', dataDir: join(dir, 'ipam'), ranges: [[{ subnet: '10.88.0.0/24' }]] }
    writeFileSync(join(dir, 'net.d/10-lab.conflist'), JSON.stringify({ cniVersion: '1.0.0', name: 'lab', plugins: [{ type: 'bridge', bridge: 'lab0', ipam }] }))
    const [image, dockerd, containerd] = await Promise.all([
      buildImage(dir),
      startDockerd(scope, { netns: host1 ?? '', dir: join(dir, 'docker'), pluginDir: join(dir, 'plugins') }),
      startContainerd(scope, { netns: host2 ?? '', dir: join(dir, 'containerd'), confDir: join(dir, 'net.d'), binDir: join(dir, 'bin') }),
    ])
    await dockerd.docker(['load', '--input', image.archive])
    await containerd.ctr(['image', 'import', image.archive])

    await dockerd.docker(['network', 'create', '--subnet', '10.89.0.0/24', 'lab'])
    await dockerd.docker(['run', '--detach', '--name', 'one', '--network', 'lab', image.reference, 'sleep', '600'])
    t.regex(await dockerd.docker(['exec', 'one', 'ip', 'address', 'show', 'eth0']), /10\.89\.0\.2\/24/)
    t.is((await dockerd.api('GET', '/networks/lab')).IPAM.Config[0].Subnet, '10.89.0.0/24')

    const two = await containerd.runWithCni('two', image.reference, ['sleep', '600'])
    t.regex(await two.exec(['ip', 'address', 'show', 'eth0']), /10\.88\.0\.2\/24/)
    await two.remove()
    t.false(existsSync(join(dir, 'ipam/lab/10.88.0.2')), 'CNI DEL gave the address back')
    // Container `one` still runs: ending dockerd has to end it too.
  })
  t.false(existsSync(labDir))
  t.deepEqual(
    readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes(labDir)),
    [],
  )
  const left = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(labDir))
  t.deepEqual(left, [])
})

test('what is registered after the end is undone at once and refused', async (t) => {
  const scope = new LabScope()
  const undone: string[] = []
  scope.defer('first', () => undone.push('first'))
  scope.defer('second', () => undone.push('second'))
  await scope.close()
  t.throws(() => scope.defer('late', () => undone.push('late')), { message: /taken down/ })
  await scope.close()
  t.deepEqual(undone, ['second', 'first', 'late'])
})

test('one thing that cannot be undone keeps nothing else from being undone', async (t) => {
  const scope = new LabScope()
  let undone = false
  scope.defer('good', () => {
    undone = true
  })
  scope.defer('bad', () => {
    throw new Error('stuck')
  })
  await t.throwsAsync(scope.close(), { message: 'could not undo bad: stuck' })
  t.true(undone)
})

// Serial: the signal is for every laboratory of this process.
test.serial('an interrupted laboratory that could not be undone says both, and stays interrupted', async (t) => {
  const error = await t.throwsAsync(
    withLab(async ({ scope, signal }) => {
      scope.defer('mount', () => {
        throw new Error('busy')
      })
      process.kill(process.pid, 'SIGTERM')
      await delay(60_000, undefined, { signal })
    }),
    { instanceOf: LabError, message: 'interrupted by SIGTERM\ncould not undo mount: busy' },
  )
  t.true(error.interrupted)
  t.deepEqual(error.remained, ['could not undo mount: busy'])
})

test('a failure of the work is not hidden by what could not be undone', async (t) => {
  const failure = new Error('no such network')
  const error = await t.throwsAsync(
    withLab(async ({ scope }) => {
      scope.defer('mount', () => {
        throw new Error('busy')
      })
      throw failure
    }),
    { instanceOf: LabError, message: 'no such network\ncould not undo mount: busy' },
  )
  t.is(error.cause, failure)
  t.false(error.interrupted)
  await t.throwsAsync(
    withLab(async () => {
      throw failure
    }),
    { is: failure },
  )
})

test('a command that cleans up is out of reach of Ctrl-C', async (t) => {
  const session = (stat: string) => stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]
  t.not(session(await run(['cat', '/proc/self/stat'])), session(readFileSync('/proc/self/stat', 'utf8')))
})

test('a command that is cut off ends with its children, and says so', async (t) => {
  await t.throwsAsync(run(['sh', '-c', 'echo begun; sleep 600 & wait'], { timeoutMs: 1000 }), { message: /: cut off after 1000 ms\nbegun/ })
  await t.throwsAsync(run(['/no/such/program']), { message: /ENOENT/ })
})

test('a program that ends before it is ready says what it wrote', async (t) => {
  await withLab(async ({ scope, dir }) => {
    await t.throwsAsync(
      startProgram(scope, { name: 'broken', command: ['sh', '-c', 'echo no such disk; exit 4'], logPath: join(dir, 'log'), ready: () => false }),
      {
        message: /broken ended \(4\) before it was ready:\nno such disk/,
      },
    )
  })
})

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}
