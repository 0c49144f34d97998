import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cniRuntime } from '@heddle/testkit'
import test from 'ava'
import { startGateway } from '../testing/gateway.ts'
import { addBlue, allowHost, blueConfig, netns } from '../testing/networks.ts'
import { encodeAnswer, FrameReader } from './frame.ts'

const source = new URL('../../../../deploy/cni-launcher', import.meta.url).pathname
const dir = mkdtempSync(join(tmpdir(), 'heddle-launcher-'))
const launcher = join(dir, 'heddle')

test.before(() => {
  execFileSync('make', ['-C', source, `OUT=${launcher}`, `SOCKET_PATH=${join(dir, 'default.sock')}`], { stdio: 'pipe' })
})
test.after.always(() => rmSync(dir, { recursive: true, force: true }))

const add = { command: 'ADD', containerId: 'c1', netns, ifname: 'eth0', config: blueConfig, env: allowHost } as const
const runAt = (socket: string, more: Readonly<Record<string, string>> = {}) => cniRuntime(launcher, { HEDDLE_CNI_SOCKET: socket, ...more })
let sockets = 0

/** A server that answers a whole request as told; undefined never answers. */
async function serve(t: { teardown(fn: () => void): void }, answer: (stdin: string) => Buffer | undefined): Promise<string> {
  const path = join(dir, `${sockets++}.sock`)
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    const reader = new FrameReader()
    open.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      const request = reader.push(chunk)
      const bytes = request === undefined ? undefined : answer(request.stdin)
      if (bytes !== undefined) socket.end(bytes)
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  t.teardown(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  return path
}

test('ADD and DEL through the launcher are those of the gateway', async (t) => {
  const gateway = await startGateway()
  addBlue(gateway.cluster)
  const run = runAt(gateway.sockets.cni)
  const added = await run(add)
  t.is(added.exitCode, 0)
  t.is(added.json.interfaces[2].name, 'eth0')
  const deleted = await run({ ...add, command: 'DEL' })
  t.deepEqual([deleted.exitCode, deleted.stdout, deleted.stderr], [0, '', ''])
  const refused = await run({ ...add, ifname: 'much-too-long-for-linux' })
  t.deepEqual([refused.exitCode, refused.json.code], [1, 4])
  await gateway.stop()
})

test('without a gateway it answers in the version of the configuration, naming the socket and what to do', async (t) => {
  const run = runAt('/run/absent/cni.sock')
  const added = await run({ ...add, config: { cniVersion: '0.4.0', name: 'blue' } })
  t.is(added.exitCode, 1)
  t.like(added.json, { cniVersion: '0.4.0', code: 11 })
  t.regex(added.json.msg, /\/run\/absent\/cni\.sock; start it/)
  const unit = /systemctl start ([\w-]+)/.exec(added.json.msg)?.[1]
  t.true(existsSync(join(source, `../systemd/${unit}.service`)), `there is a unit ${unit}`)
  t.notRegex(added.stdout, /not found|no such file/i)
  t.is((await run({ command: 'STATUS', config: blueConfig })).json.code, 50)
  const version = await run({ command: 'VERSION', config: { cniVersion: '1.0.0' } })
  t.is(version.exitCode, 0)
  t.deepEqual(version.json, { cniVersion: '1.0.0', supportedVersions: ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] })
})

test('without a command it says what it is and succeeds', async (t) => {
  const { exitCode, stderr } = await cniRuntime(launcher)({ command: 'ADD', config: '', env: { CNI_COMMAND: '' } })
  t.is(exitCode, 1, 'an empty command is an unknown one')
  t.is(stderr, '')
  t.regex(execFileSync('sh', ['-c', `env -i ${launcher} 2>&1`]).toString(), /CNI heddle plugin/)
})

test('a gateway that does not answer is given up on in time', async (t) => {
  const silent = await serve(t, () => undefined)
  const outcome = await runAt(silent, { HEDDLE_CNI_TIMEOUT_MS: '200' })(add)
  t.deepEqual([outcome.exitCode, outcome.json.code], [1, 11])
  t.regex(outcome.json.msg, /no answer in time/)
})

test('a gateway that dies in the middle or speaks something else is a failure to try again', async (t) => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), encodeAnswer(0, '{"cut": true}').subarray(0, 12)]) {
    const outcome = await runAt(await serve(t, () => bytes))(add)
    t.deepEqual([outcome.exitCode, outcome.json.code], [1, 11])
  }
})

test('a configuration up to a mebibyte arrives whole, a larger one is refused', async (t) => {
  const echo = await serve(t, (stdin) => encodeAnswer(7, stdin))
  const config = JSON.stringify({ ...blueConfig, filler: 'x'.repeat(1024 * 1024 - 200) })
  const outcome = await runAt(echo)({ ...add, config })
  t.is(outcome.exitCode, 7)
  t.is(outcome.stdout, config)
  t.is((await runAt(echo)({ ...add, config: `${config}${' '.repeat(300)}` })).json.code, 6)
})

test('the socket comes from the environment, the configuration, the file beside the binary, or the build', async (t) => {
  const answering = await serve(t, () => encodeAnswer(0, '"here"'))
  const bare = cniRuntime(launcher)
  t.regex((await bare(add)).json.msg, /default\.sock/)
  t.is((await bare({ ...add, config: { ...blueConfig, socket: answering } })).json, 'here')
  for (const elsewhere of [{ args: { socket: answering } }, { list: ['socket', { socket: answering }] }, { note: '"socket": "' }, { note: 'socket' }])
    t.regex((await bare({ ...add, config: { ...blueConfig, ...elsewhere } })).json.msg, /default\.sock/, 'only the key of the configuration itself counts')
  const escaped = { ...blueConfig, note: 'a \\" \\\\', args: { socket: '/run/absent/cni.sock' }, socket: answering }
  t.is((await bare({ ...add, config: escaped })).json, 'here')
  writeFileSync(`${launcher}.conf`, `${answering}\n`)
  t.is((await bare(add)).json, 'here')
  t.regex((await runAt('/run/absent/cni.sock')(add)).json.msg, /absent/)
  rmSync(`${launcher}.conf`)
})

test('the trace of the runtime arrives, and nothing else of the environment', async (t) => {
  const path = join(dir, 'env.sock')
  const seen = new Promise<ReadonlyMap<string, string>>((resolve) => {
    const server = createServer((socket) => {
      const reader = new FrameReader()
      socket.on('data', (chunk: Buffer) => {
        const request = reader.push(chunk)
        if (request === undefined) return
        resolve(request.env)
        socket.end(encodeAnswer(0, ''))
        server.close()
      })
    }).listen(path)
  })
  await runAt(path)({ ...add, env: { ...allowHost, TRACEPARENT: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, SECRET: 'x' } })
  t.deepEqual([...(await seen).keys()].sort(), ['CNI_COMMAND', 'CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_NETNS', 'CNI_NETNS_OVERRIDE', 'CNI_PATH', 'TRACEPARENT'])
})
