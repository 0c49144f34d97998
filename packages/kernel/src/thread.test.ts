import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { promisify } from 'node:util'
import test from 'ava'
import { type BuildOptions, build } from 'esbuild'
import { NetlinkThread } from './thread.ts'
import { workerUrl } from './worker-url.ts'

const run = promisify(execFile)
const source = (file: string) => new URL(file, import.meta.url)
const never = Number.POSITIVE_INFINITY
const openSockets = () => readdirSync('/proc/self/fd').length

test('a thread that dies fails its calls with a typed error, and a new one answers the next', async (t) => {
  const restarts: Error[] = []
  const thread = new NetlinkThread({ own: undefined, residents: [], workerUrl: workerUrl(), onNotice() {}, onRestart: (reason) => restarts.push(reason) })
  t.teardown(() => thread.close())
  await thread.send({ kind: 'links', ns: 'own' }, never)
  const before = openSockets()
  const calls = Array.from({ length: 50 }, () => thread.send({ kind: 'links', ns: 'own' }, never))
  const outcomes = Promise.allSettled(calls)
  await thread.worker?.terminate()
  const failed = (await outcomes).filter((outcome) => outcome.status === 'rejected')
  t.true(failed.length > 0)
  for (const { reason } of failed) t.like(reason, { name: 'HeddleError', code: 'unavailable', retryable: true })
  t.is(restarts.length, 1)
  t.true('value' in (await thread.send({ kind: 'links', ns: 'own' }, never)))
  t.true(openSockets() <= before + 2, 'descriptors of the dead thread are closed')
})

test('a thread that dies again and again is started again after a pause', async (t) => {
  const restarts: Error[] = []
  const thread = new NetlinkThread({ own: undefined, residents: [], workerUrl: workerUrl(), onNotice() {}, onRestart: (reason) => restarts.push(reason) })
  t.teardown(() => thread.close())
  for (let death = 0; death < 2; death++) {
    await thread.send({ kind: 'links', ns: 'own' }, never)
    await thread.worker?.terminate()
  }
  t.is(thread.worker, undefined)
  t.like(await t.throwsAsync(thread.send({ kind: 'links', ns: 'own' }, never)), { code: 'unavailable', retryable: true })
  while (thread.worker === undefined) await new Promise((resolve) => setTimeout(resolve, 20))
  t.true('value' in (await thread.send({ kind: 'links', ns: 'own' }, never)))
  t.is(restarts.length, 2)
})

test('a thread that cannot start fails each call, without a storm of new threads', async (t) => {
  let restarts = 0
  const thread = new NetlinkThread({
    own: undefined,
    residents: [],
    workerUrl: new URL('file:///no/such/worker.js'),
    onNotice() {},
    onRestart: () => restarts++,
  })
  t.teardown(() => thread.close())
  for (let attempt = 0; attempt < 2; attempt++) t.like(await t.throwsAsync(thread.send({ kind: 'links', ns: 'own' }, never)), { code: 'unavailable' })
  t.is(restarts, 0)
})

test('a closed thread refuses calls, and closing waits for deletions under way', async (t) => {
  const thread = new NetlinkThread({ own: undefined, residents: [], workerUrl: workerUrl(), onNotice() {}, onRestart() {} })
  const path = `/run/netns/hdk-${process.pid}-close`
  await thread.send({ kind: 'createNamespace', path }, never)
  await thread.send({ kind: 'run', steps: [{ op: 'veth.add', ns: { path }, name: 'a', peer: { ns: { path }, name: 'b' } }] }, never)
  const removal = thread.send({ kind: 'remove', ns: { path }, name: 'a' }, never)
  await thread.send({ kind: 'deleteNamespace', path }, never)
  await thread.close()
  t.like(await removal, { value: true })
  t.like(await t.throwsAsync(thread.send({ kind: 'links', ns: 'own' }, never)), { code: 'unavailable' })
  t.false(existsSync(path))
})

test('a process that never closes its kernel still ends by itself, also while it watches', async (t) => {
  const script = `import { openKernel } from ${JSON.stringify(source('./index.ts').href)}
import { withCall } from '@heddle/core'
const kernel = openKernel()
kernel.watchLinks('own', () => {})
console.log(await withCall({ timeoutMs: 10_000 }, async (call) => (await kernel.link('own', 'lo', call))?.name))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: new URL('..', import.meta.url), timeout: 30_000 })
  t.is(stdout, 'lo\n')
})

test('bundled by esbuild, the worker as an entry of its own, it runs from plain JavaScript', async (t) => {
  // Inside the package, so that koffi, which stays external, is found.
  const folder = mkdtempSync(new URL('../node_modules/.bundle-', import.meta.url).pathname)
  t.teardown(() => rmSync(folder, { recursive: true }))
  const contents = `import { openKernel } from ${JSON.stringify(source('./index.ts').pathname)}
import { withCall } from '@heddle/core'
const kernel = openKernel()
console.log(await withCall({ timeoutMs: 10_000 }, async (call) => (await kernel.link('own', 'lo', call))?.name))
await kernel.close()`
  const options: BuildOptions = { bundle: true, platform: 'node', format: 'esm', external: ['koffi'] }
  await build({ ...options, stdin: { contents, resolveDir: new URL('..', import.meta.url).pathname }, outfile: `${folder}/main.js` })
  await build({ ...options, entryPoints: [source('./worker/netlink-worker.ts').pathname], outfile: `${folder}/netlink-worker.js` })
  const { stdout } = await run(process.execPath, [`${folder}/main.js`], { timeout: 30_000 })
  t.is(stdout, 'lo\n')
})
