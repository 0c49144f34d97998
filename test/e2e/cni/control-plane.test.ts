/** CNI against a control plane that is lost in part, that has lost a record, or that is asked for much at once: CHECK, STATUS and GC for real. */
import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import {
  attempt,
  type CniCall,
  type CniRuntime,
  cniRuntime,
  createUnderlay,
  type HeddleProcess,
  LabScope,
  labDirectory,
  run,
  type ServerHandle,
  startEtcd,
  startHeddle,
  startNats,
} from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { eventually } from './stage.ts'

const launcher = resolve(import.meta.dirname, '../../../deploy/cni-launcher/heddle-cni')
/** Short, so that a test sees the sweeps work; an ADD takes a second at most here. */
const graceMs = 8_000
const config = {
  ipam: { sweepIntervalMs: 500, graceMs, provisionalGraceMs: graceMs },
  networks: { sweepIntervalMs: 500, graceMs, reservedGraceMs: graceMs },
  wiring: { underlay: { interface: 'eth0' }, reconcileMs: 1_000, orphanGraceMs: graceMs },
}
const lan = { cniVersion: '1.1.0', name: 'lan', type: 'heddle', heddle: { kind: 'bridge', subnets: ['10.95.0.0/24'] } }

const scope = new LabScope()
let nats: ServerHandle
let etcd: ServerHandle
let hostNetns: string
let cni: CniRuntime
let env: Readonly<Record<string, string>>
let host: HeddleProcess
let brains: HeddleProcess
let overlay: HeddleProcess
let start: (name: string, services: readonly string[], netns?: string) => Promise<HeddleProcess>
let sandboxes = 0

test.before(async () => {
  const dir = labDirectory(scope)
  const underlay = createUnderlay({ hosts: 1, reachable: true })
  scope.defer('underlay', () => underlay.remove())
  hostNetns = underlay.hosts[0]?.path ?? ''
  nats = await startNats({ address: underlay.gateway })
  scope.defer('nats', () => nats.stop())
  etcd = await startEtcd({ address: underlay.gateway })
  scope.defer('etcd', () => etcd.stop())
  start = (name, services, netns) =>
    startHeddle(scope, { host: name, dir: join(dir, name), services, nats: [nats.url], etcd: [etcd.url], config, ...(netns === undefined ? {} : { netns }) })
  ;[brains, overlay, host] = await Promise.all([
    start('brains', ['ipam', 'networks', 'vf-allocator']),
    start('overlay', ['overlay']),
    start('h1', ['gateway', 'netns-wiring'], hostNetns),
  ])
  env = { HEDDLE_CNI_SOCKET: host.cniSocket }
  cni = cniRuntime(launcher, env)
})
test.after.always(() => scope.close())

async function container(id: string): Promise<Omit<CniCall, 'command'> & { readonly containerId: string }> {
  const name = `hdplane-${process.pid}-${++sandboxes}`
  await run(['ip', 'netns', 'add', name])
  scope.defer(name, () => attempt(['ip', 'netns', 'delete', name]))
  return { containerId: id, netns: `/run/netns/${name}`, ifname: 'eth0', config: lan }
}

type Container = Awaited<ReturnType<typeof container>>

async function add(t: ExecutionContext, one: Container): Promise<any> {
  const outcome = await cni({ command: 'ADD', ...one })
  t.is(outcome.exitCode, 0, `${one.containerId}: ${outcome.stdout}`)
  return outcome.json
}

const status = (of: object = lan) => cni({ command: 'STATUS', config: { cniVersion: '1.1.0', type: 'heddle', ...of } })

const gc = (valid: readonly Container[]) =>
  cni({ command: 'GC', config: { ...lan, 'cni.dev/valid-attachments': valid.map(({ containerId: containerID, ifname }) => ({ containerID, ifname })) } })

const etcdctl = (...args: string[]) => run(['etcdctl', '--endpoints', etcd.url, ...args], { env: { ETCDCTL_API: '3' } })

/** Keys and values below a prefix. */
async function records(prefix: string): Promise<ReadonlyMap<string, any>> {
  const lines = (await etcdctl('get', '--prefix', prefix)).trimEnd().split('\n')
  return new Map(lines.flatMap((key, index) => (index % 2 === 0 && key !== '' ? [[key, JSON.parse(lines[index + 1] ?? '{}')] as const] : [])))
}

/** Of the containers that have something here: in etcd an endpoint, in etcd an address, in the kernel a link. */
async function owned() {
  const endpoints = new Map([...(await records('heddle/networks/endpoint/')).values()].map((one) => [one.id as string, one.containerId as string]))
  const claims = [...(await records('heddle/ipam/claim/')).values()].filter(({ freedAt }) => freedAt === undefined)
  const { attachments } = await linksOf()
  const named = (ids: readonly string[]) => ids.map((id) => endpoints.get(id) ?? `unrecorded ${id}`).sort()
  return { endpoints: [...endpoints.values()].sort(), addresses: named(claims.map(({ owner }) => owner)), links: named(attachments) }
}

/** The host's ends by their aliases, which name the endpoint. */
async function linksOf(): Promise<{ readonly attachments: readonly string[] }> {
  const links = JSON.parse(await run(['nsenter', `--net=${hostNetns}`, 'ip', '-json', '-details', 'link'])) as { ifname: string; ifalias?: string }[]
  return { attachments: links.flatMap(({ ifname, ifalias = '' }) => (/^hd[0-9a-f]{11}/.test(ifname) ? [/[0-9a-f]{32}/.exec(ifalias)?.[0] ?? ifname] : [])) }
}

const exactly = (names: readonly string[]) => ({ endpoints: names.toSorted(), addresses: names.toSorted(), links: names.toSorted() })

test.serial('CHECK names a claim that is missing, then a record that is missing, and nothing else', async (t) => {
  const one = await container('lost')
  const prevResult = await add(t, one)
  const check = async () => (await cni({ command: 'CHECK', ...one, config: { ...lan, prevResult } })).json?.msg
  t.is(await check(), undefined)
  const address = prevResult.ips[0].address.split('/')[0]
  const claim = [...(await records('heddle/ipam/claim/')).keys()].find((key) => key.endsWith(`/${address}`)) ?? ''
  const value = (await etcdctl('get', '--print-value-only', claim)).trimEnd()
  await etcdctl('del', claim)
  await eventually('the claim is missed', async () => ((await check()) === undefined ? 'CHECK is content' : undefined))
  t.regex(await check(), new RegExp(`^the attachment is not as recorded: address ${address}/24 is not claimed; call DEL`))
  await etcdctl('put', claim, value)
  await eventually('the claim is back', check)
  const record = [...(await records('heddle/networks/endpoint/')).keys()][0] ?? ''
  await etcdctl('del', record)
  await eventually('the record is missed', async () => ((await check()) === undefined ? 'CHECK is content' : undefined))
  t.regex(await check(), /^the attachment is not as recorded: container lost has no endpoint on network lan; call DEL/)
  t.is((await cni({ command: 'DEL', ...one })).exitCode, 0)
  await eventually('nothing is left', async () => {
    const left = JSON.stringify(await owned())
    return left === JSON.stringify(exactly([])) ? undefined : left
  })
})

test.serial('GC frees what no valid attachment has and nothing else, while containers come', async (t) => {
  const [kept, stale, coming] = await Promise.all(
    (['kept', 'stale', 'coming'] as const).map((name) => Promise.all(Array.from({ length: 8 }, (_, index) => container(`${name}-${index}`)))),
  )
  const results = new Map<string, any>()
  const attach = async (one: Container) => void results.set(one.containerId, await add(t, one))
  await Promise.all([...(kept ?? []), ...(stale ?? [])].map(attach))
  // A runtime knows of a container from the moment it asks for its network.
  const valid = [...(kept ?? [])]
  const adds: Promise<void>[] = []
  const calls: ReturnType<typeof gc>[] = []
  for (const one of coming ?? []) {
    valid.push(one)
    adds.push(attach(one))
    calls.push(gc(valid))
  }
  await Promise.all(adds)
  for (const { exitCode, stdout } of await Promise.all(calls)) t.deepEqual([exitCode, stdout], [0, ''])
  for (const one of valid) {
    const outcome = await cni({ command: 'CHECK', ...one, config: { ...lan, prevResult: results.get(one.containerId) } })
    t.is(outcome.exitCode, 0, `${one.containerId}: ${outcome.stdout}`)
  }
  t.deepEqual(await owned(), exactly(valid.map(({ containerId }) => containerId)))
  const addresses = valid.map(({ containerId }) => results.get(containerId).ips[0].address)
  t.is(new Set(addresses).size, valid.length)
  t.is((await gc([])).exitCode, 0)
  t.deepEqual(await owned(), exactly([]))
})

test.serial('what ADDs that were killed leave behind goes by GC and the sweeps, and a valid container keeps what it has', async (t) => {
  const kept = await container('kept')
  const prevResult = await add(t, kept)
  const cut = await Promise.all(Array.from({ length: 12 }, (_, index) => container(`cut-${index}`)))
  await Promise.all(cut.map((one, index) => cutOff(one, index)))
  await eventually(
    'only the valid container has anything',
    async () => {
      // Again and again, as runtimes do: what is still being undone is not GC's.
      t.is((await gc([kept])).exitCode, 0)
      const now = JSON.stringify(await owned())
      return now === JSON.stringify(exactly(['kept'])) ? undefined : now
    },
    60_000,
  )
  t.is((await cni({ command: 'CHECK', ...kept, config: { ...lan, prevResult } })).exitCode, 0)
  t.is((await gc([])).exitCode, 0)
})

/** An ADD whose plugin is killed so many milliseconds after it began. */
function cutOff({ containerId, netns, ifname, config: json }: Container, afterMs: number): Promise<void> {
  const child = spawn(launcher, {
    env: { ...env, CNI_COMMAND: 'ADD', CNI_CONTAINERID: containerId, CNI_NETNS: netns, CNI_IFNAME: ifname, CNI_PATH: '/opt/cni/bin' },
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify(json))
  setTimeout(() => child.kill('SIGKILL'), afterMs)
  return new Promise((done) => child.once('close', () => done()))
}

test.serial('STATUS is 50 while etcd, NATS or a brain is away and 51 while only the overlay is, and content when they are back', async (t) => {
  const blue = { name: 'blue', heddle: { kind: 'overlay', subnets: ['10.94.0.0/24'] } }
  const codes = () => Promise.all([status(), status(blue)].map(async (asked) => (await asked).json?.code))
  const become = (what: string, wanted: readonly (number | undefined)[]) =>
    eventually(what, async () => {
      const now = JSON.stringify(await codes())
      return now === JSON.stringify(wanted) ? undefined : now
    })
  t.is((await cni({ command: 'ADD', ...(await container('blue')), config: { ...lan, ...blue } })).exitCode, 0)
  await become('content', [undefined, undefined])

  await overlay.kill()
  await become('the overlay service away', [undefined, 51])
  overlay = await start('overlay', ['overlay'])
  await become('the overlay service back', [undefined, undefined])

  await brains.kill()
  await become('the brains away', [50, 50])
  t.regex((await status()).json.msg, /(ipam|networks) does not answer/)
  brains = await start('brains', ['ipam', 'networks', 'vf-allocator'])
  await become('the brains back', [undefined, undefined])

  await etcd.kill()
  await become('etcd away', [50, 50])
  await etcd.restart()
  await become('etcd back', [undefined, undefined])

  process.kill(etcd.pid, 'SIGSTOP')
  await become('etcd silent', [50, 50])
  process.kill(etcd.pid, 'SIGCONT')
  await become('etcd speaking again', [undefined, undefined])

  await nats.kill()
  await become('NATS away', [50, 50])
  await nats.restart()
  await become('NATS back', [undefined, undefined])

  await host.kill()
  const away = await status()
  t.is(away.json?.code, 50)
  t.regex(away.json.msg, /gateway is not listening/)
})
