import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HeddleError } from '@heddle/core'
import test, { type ExecutionContext } from 'ava'
import { z } from 'zod'
import { baseConfig, type ConfigSources, hostToken, loadConfig } from './index.ts'

const schema = baseConfig.extend({
  gateway: z
    .object({
      cniSocket: z.string().default('cni.sock'),
      timeoutMs: z.number().int().positive().default(5_000),
      labels: z.record(z.string(), z.string()).default({}),
    })
    .prefault({}),
})

function file(t: ExecutionContext, name: string, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'heddle-config-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

async function refusal(sources: ConfigSources): Promise<HeddleError> {
  try {
    await loadConfig(schema, sources)
  } catch (error) {
    if (HeddleError.is(error)) return error
    throw error
  }
  throw new Error('accepted')
}

test('nothing given: the defaults, with this host as its name', async (t) => {
  const config = await loadConfig(schema, {})
  t.like(config, { runDir: '/run/heddle', log: { level: 'info', pretty: false }, gateway: { cniSocket: 'cni.sock', timeoutMs: 5_000 } })
  t.deepEqual(config.nats.servers, [])
  t.regex(config.host, /^[A-Za-z0-9][A-Za-z0-9_-]*$/)
})

test('a file is overruled by variables, and both by flags, setting by setting', async (t) => {
  const path = file(
    t,
    'heddle.yaml',
    'host: from-file\nlog:\n  level: warn\n  pretty: true\nnats:\n  servers: [nats://a:4222]\ngateway:\n  timeoutMs: 1\netcd:\n',
  )
  const env = { HEDDLE_LOG_LEVEL: 'error', HEDDLE_GATEWAY_TIMEOUT_MS: '2', HEDDLE_GATEWAY_CNI_SOCKET: '/x/cni.sock', HEDDLE_TEST: '1', PATH: '/bin' }
  const config = await loadConfig(schema, { file: path, env, flags: ['gateway.timeoutMs=3', 'gateway.labels={"a":"b"}'] })
  t.like(config, { host: 'from-file', log: { level: 'error', pretty: true }, nats: { servers: ['nats://a:4222'] } })
  t.deepEqual(config.gateway, { cniSocket: '/x/cni.sock', timeoutMs: 3, labels: { a: 'b' } })
})

test('JSON is a file too; lists in text are separated by commas; booleans are words', async (t) => {
  const path = file(t, 'heddle.json', '{"etcd": {"endpoints": ["http://a:2379"]}}')
  const config = await loadConfig(schema, { file: path, env: { HEDDLE_NATS_SERVERS: 'nats://a:1, nats://b:2', HEDDLE_LOG_PRETTY: 'yes' } })
  t.deepEqual(config.etcd.endpoints, ['http://a:2379'])
  t.deepEqual(config.nats.servers, ['nats://a:1', 'nats://b:2'])
  t.true(config.log.pretty)
})

test('an unknown name is refused wherever it comes from, with what was probably meant', async (t) => {
  const path = file(t, 'heddle.yaml', 'gatway:\n  cniSocket: x\nlog:\n  levl: info\n')
  const inFile = await refusal({ file: path })
  t.is(inFile.code, 'invalid-argument')
  t.is(inFile.field, 'gatway')
  t.true(inFile.message.includes('log.levl') && inFile.message.includes(path))
  t.regex(inFile.remedy ?? '', /log\.level/)
  const inEnvironment = await refusal({ env: { HEDDLE_NATS_SERVRS: 'x' } })
  t.is(inEnvironment.field, 'HEDDLE_NATS_SERVRS')
  t.regex(inEnvironment.remedy ?? '', /HEDDLE_NATS_SERVERS/)
  const inFlags = await refusal({ flags: ['gateway.cnisocket=x', 'host'] })
  t.is(inFlags.field, 'gateway.cnisocket')
  t.regex(inFlags.remedy ?? '', /gateway\.cniSocket.*--set host=VALUE/)
})

test('a bad value is refused with its name and where it came from', async (t) => {
  const path = file(t, 'heddle.yaml', 'runDir: relative\nlog: 5\n')
  for (const [sources, field, message] of [
    [{ file: file(t, 'x.yaml', 'runDir: relative\n') }, 'runDir', /runDir \(from .*x\.yaml\): use an absolute path/],
    [{ file: path }, 'log', /log \(from .*\) must be a section/],
    [{ env: { HEDDLE_GATEWAY_TIMEOUT_MS: 'soon' } }, 'gateway.timeoutMs', /from HEDDLE_GATEWAY_TIMEOUT_MS\): .*expected number/],
    [{ flags: ['log.level=loud'] }, 'log.level', /from --set log\.level\): .*expected one of/],
    [{ flags: ['host=a.b'] }, 'host', /from --set host\): use 1 to 63/],
    [{ env: { HEDDLE_NATS_SERVERS: 'a,,b' } }, 'nats.servers.1', /from HEDDLE_NATS_SERVERS/],
  ] as const) {
    const error = await refusal(sources)
    t.is(error.field, field)
    t.regex(error.message, message)
  }
})

test('a setting that is required and missing is named with its variable', async (t) => {
  const error = await t.throwsAsync(loadConfig(z.object({ gateway: z.object({ apiKey: z.string() }).prefault({} as never) }), {}))
  t.regex(error?.message ?? '', /gateway\.apiKey \(not set; HEDDLE_GATEWAY_API_KEY\)/)
})

test('a file that cannot be read or parsed is named', async (t) => {
  for (const path of ['/nowhere/heddle.yaml', file(t, 'bad.yaml', 'a: [')]) {
    const error = await refusal({ file: path })
    t.is(error.field, path)
    t.true(error.message.includes(path))
  }
})

test('a host name becomes one token', (t) => {
  t.deepEqual(['web1.example.org', 'a b', '-x', ''].map(hostToken), ['web1', 'a-b', 'host-x', 'host'])
})
