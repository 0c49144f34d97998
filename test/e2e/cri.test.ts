/** containerd's CRI with Heddle as its CNI plugin, sandbox by sandbox as a kubelet asks for them. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  buildImage,
  type Containerd,
  type Cri,
  connectCri,
  createUnderlay,
  type HeddleProcess,
  LabScope,
  labDirectory,
  type Pod,
  run,
  startContainerd,
  startHeddle,
  type Underlay,
  whyNoContainers,
} from '@heddle/testkit'
import anyTest, { type TestFn } from 'ava'
import { checkLeaks } from '../../scripts/demo/leaks.ts'
import { printTo } from '../../scripts/demo/progress.ts'

interface Context {
  readonly dir: string
  readonly underlay: Underlay
  readonly heddle: HeddleProcess
  readonly containerd: Containerd
  readonly cri: Cri
}

const test = anyTest as TestFn<Context>
const scope = new LabScope()
const reason = await whyNoContainers()

test.before('a host with Heddle and containerd', async (t) => {
  if (reason !== undefined) return
  const dir = labDirectory(scope)
  const underlay = createUnderlay({ hosts: 2 })
  scope.defer('underlay', () => underlay.remove())
  const [host] = underlay.hosts
  for (const name of ['heddle', 'containerd']) mkdirSync(join(dir, name))
  const netns = host?.path ?? ''
  const [image, heddle] = await Promise.all([
    buildImage(dir, { name: 'pause', command: ['/bin/sh', '-c', 'mkdir /dev/www; hostname > /dev/www/index.html; exec httpd -f -p 80 -h /dev/www'] }),
    startHeddle(scope, { host: 'node-1', netns, dir: join(dir, 'heddle'), config: { wiring: { underlay: { interface: 'eth0' } } } }),
  ])
  const containerd = await startContainerd(scope, {
    netns,
    dir: join(dir, 'containerd'),
    confDir: join(dir, 'net.d'),
    binDir: join(dir, 'bin'),
    cri: { sandboxImage: image.reference },
  })
  await containerd.ctr(['--namespace', 'k8s.io', 'image', 'import', image.archive])
  const cri = await connectCri(containerd)
  scope.defer('CRI client', () => cri.close())
  printTo(() => {})
  t.context = { dir, underlay, heddle, containerd, cri }
})
test.after.always('everything is removed', () => scope.close())

if (reason !== undefined) {
  test('sandboxes of containerd', (t) => {
    t.log(`skipped: ${reason}`)
    t.pass()
  })
} else {
  test.serial('containerd says that its network is ready once `heddle cni install` wrote the configuration', async (t) => {
    const { cri, heddle } = t.context
    t.like(await cri.network(), { status: false, reason: 'NetworkPluginNotReady' })
    await heddle.cli(['network', 'create', 'pods', '--kind', 'bridge', '--subnet', '10.88.0.0/24', '--subnet', 'fd88::/64'])
    await install(t.context, 'pods')
    t.like(await cri.network(), { status: true })
  })

  test.serial('a sandbox has addresses of both families, its ports on the host, its names in resolv.conf, and leaves nothing', async (t) => {
    const { cri, heddle } = t.context
    const pod = await cri.run({
      name: 'web-1',
      ports: [
        { hostPort: 8080, containerPort: 80 },
        { hostPort: 8053, containerPort: 53, protocol: 'UDP' },
        // A port of the container that is not published.
        { hostPort: 0, containerPort: 9090 },
      ],
      dns: { servers: ['10.0.0.10', 'fd00::10'], searches: ['lab.example'], options: ['ndots:5'] },
    })
    t.regex(pod.addresses.join(' '), /^10\.88\.0\.\d+ fd88::\S+$/)
    t.deepEqual(
      await linkAddresses(pod),
      pod.addresses.map((address, index) => `${address}/${[24, 64][index]}`),
    )
    const { status } = await cri.status(pod.id)
    t.like(status, { state: 0, metadata: { name: 'web-1', uid: 'uid-web-1', namespace: 'default' } })
    t.is(await pod.exec(['cat', '/etc/resolv.conf']), 'search lab.example\nnameserver 10.0.0.10\nnameserver fd00::10\noptions ndots:5\n')
    const [endpoint] = await heddle.json(['endpoint', 'ls'])
    t.like(endpoint, { runtime: 'cni', containerName: 'default/web-1', containerId: pod.id, interfaceName: 'eth0', sandbox: pod.netns, networkName: 'pods' })
    t.deepEqual(endpoint.ports, [
      { protocol: 'tcp', hostPort: 8080, containerPort: 80 },
      { protocol: 'udp', hostPort: 8053, containerPort: 53 },
    ])
    const [host] = t.context.underlay.hosts
    for (const address of [host?.address, `[${host?.address6}]`]) t.is(await pageFor(t.context, `http://${address}:8080/`), 'web-1\n', address)
    await t.throwsAsync(cri.run({ name: 'web-2', ports: [{ hostPort: 8080, containerPort: 80 }] }), { message: /8080/ })

    await cri.stop(pod.id)
    t.like((await cri.status(pod.id)).status, { state: 1 })
    await cri.stop(pod.id)
    await cri.remove(pod.id)
    await cri.remove(pod.id)
    await nothingLeft(t.context)
  })

  test.serial('sixteen sandboxes at once have an address each, and go at once', async (t) => {
    const { cri, heddle } = t.context
    const names = Array.from({ length: 16 }, (_, index) => `many-${index}`)
    const pods = await Promise.all(names.map((name) => cri.run({ name })))
    t.is(new Set(pods.flatMap(({ addresses }) => addresses)).size, 32)
    const [first, last] = [pods[0], pods.at(-1)]
    for (const address of last?.addresses ?? [])
      t.regex((await first?.exec([address.includes(':') ? 'ping6' : 'ping', '-c', '1', '-W', '2', address])) ?? '', / 0% packet loss/)
    t.is((await heddle.json(['endpoint', 'ls'])).length, 16)
    await Promise.all(pods.map(({ id }) => cri.stop(id).then(() => cri.remove(id))))
    await nothingLeft(t.context)
  })

  test.serial('a sandbox whose namespace is gone, and its process with it, is stopped and removed as any other', async (t) => {
    const { cri, containerd, heddle } = t.context
    const pod = await cri.run({ name: 'lost', ports: [{ hostPort: 8080, containerPort: 80 }] })
    await containerd.ctr(['--namespace', 'k8s.io', 'task', 'kill', '--signal', 'SIGKILL', pod.id])
    await run(['umount', '--lazy', pod.netns])
    rmSync(pod.netns)
    await until(async () => (await cri.status(pod.id)).status?.state === 1)
    await cri.stop(pod.id)
    await cri.remove(pod.id)
    t.deepEqual(await heddle.json(['endpoint', 'ls']), [])
    await nothingLeft(t.context)
  })

  test.serial('the bandwidth that annotations of a pod ask for reaches the plugin that is chained after Heddle', async (t) => {
    const { cri, dir } = t.context
    copyFileSync('/usr/lib/cni/bandwidth', join(dir, 'bin/bandwidth'))
    await install(t.context, 'pods', [{ type: 'bandwidth', capabilities: { bandwidth: true } }])
    const pod = await cri.run({ name: 'slow', annotations: { 'kubernetes.io/ingress-bandwidth': '10M', 'kubernetes.io/egress-bandwidth': '20M' } })
    const host = t.context.underlay.hosts[0]?.path ?? ''
    const shaped = () => run(['nsenter', `--net=${host}`, 'tc', 'qdisc', 'show'])
    t.regex(await shaped(), /^qdisc tbf .* dev hd\S+ .*rate 10Mbit/m)
    t.regex(await shaped(), /^qdisc tbf .* dev bwp\S+ .*rate 20Mbit/m)
    await cri.stop(pod.id)
    await cri.remove(pod.id)
    t.notRegex(await shaped(), /tbf/)
    await nothingLeft(t.context)
    await install(t.context, 'pods')
  })

  test.serial('an ADD that finds the pool full says so and leaves nothing', async (t) => {
    const { cri, heddle } = t.context
    await heddle.cli(['network', 'create', 'small', '--kind', 'bridge', '--subnet', '10.89.0.0/30'])
    await install(t.context, 'small')
    const only = await cri.run({ name: 'only' })
    t.deepEqual(only.addresses, ['10.89.0.2'])
    await t.throwsAsync(cri.run({ name: 'late' }), { message: /plugin type="heddle" failed \(add\): .*small\.10\.89\.0\.0_30.*code: pool-exhausted/ })
    t.deepEqual(
      (await cri.list()).map(({ metadata }) => metadata?.name),
      ['only'],
    )
    t.is((await heddle.json(['endpoint', 'ls'])).length, 1)
    await cri.stop(only.id)
    // The same pod again, as the kubelet does.
    const late = await cri.run({ name: 'late', attempt: 1 })
    t.deepEqual(late.addresses, ['10.89.0.2'])
    for (const { id } of [only, late]) {
      await cri.stop(id)
      await cri.remove(id)
    }
    await nothingLeft(t.context)
    await install(t.context, 'pods')
    await heddle.cli(['network', 'rm', 'small'])
  })

  test.serial('containerd killed with SIGKILL and started anew has its sandboxes as they were', async (t) => {
    const { cri, containerd } = t.context
    const pod = await cri.run({ name: 'stays', ports: [{ hostPort: 8080, containerPort: 80 }] })
    const { program } = containerd
    await containerd.restart()
    t.not(containerd.program.pid, program.pid)
    await until(async () => (await cri.network())?.status === true)
    const { status } = await cri.status(pod.id)
    t.like(status, { state: 0, network: { ip: pod.addresses[0] } })
    const next = await cri.run({ name: 'next' })
    for (const address of pod.addresses) t.regex(await next.exec([address.includes(':') ? 'ping6' : 'ping', '-c', '1', '-W', '2', address]), / 0% packet loss/)
    t.is(await pageFor(t.context, `http://${t.context.underlay.hosts[0]?.address}:8080/`), 'stays\n')
    for (const { id } of [pod, next]) {
      await cri.stop(id)
      await cri.remove(id)
    }
    await nothingLeft(t.context)
  })

  test.serial('a sandbox that containerd was killed over while it made it is listed as not ready, and goes when it is stopped', async (t) => {
    const { cri, containerd, dir, heddle } = t.context
    // The plugin after Heddle in the chain does not come back.
    writeFileSync(join(dir, 'bin/stuck'), '#!/bin/sh\n[ "$CNI_COMMAND" != ADD ] || exec sleep 600\n', { mode: 0o755 })
    await install(t.context, 'pods', [{ type: 'stuck' }])
    const failed = t.throwsAsync(cri.run({ name: 'forgotten' }))
    await until(async () => (await heddle.json(['endpoint', 'ls'])).length === 1)
    await containerd.restart()
    await failed
    await until(async () => (await cri.network())?.status === true)
    const [endpoint] = await heddle.json(['endpoint', 'ls'])
    const listed = await cri.list()
    t.deepEqual(
      listed.map(({ id, state }) => [id, state]),
      [[endpoint.containerId, 1]],
    )
    await cri.stop(endpoint.containerId)
    await cri.remove(endpoint.containerId)
    t.false(existsSync(endpoint.sandbox))
    await nothingLeft(t.context)
  })
}

/** Replaces what is installed; resolves when containerd has read it. */
async function install({ dir, cri, heddle }: Context, network: string, after: readonly object[] = []): Promise<void> {
  const confDir = join(dir, 'net.d')
  for (const file of readdirSync(confDir)) rmSync(join(confDir, file))
  await until(async () => (await cri.network())?.status === false)
  await heddle.cli(['cni', 'install', '--network', network, '--bin-dir', join(dir, 'bin'), '--conf-dir', confDir])
  if (after.length > 0) {
    const path = join(confDir, `10-heddle-${network}.conflist`)
    const { plugins, ...list } = JSON.parse(readFileSync(path, 'utf8'))
    writeFileSync(path, JSON.stringify({ ...list, plugins: [...plugins, ...after] }))
  }
  await until(async () => (await cri.network())?.status === true)
}

async function linkAddresses({ netns }: Pod): Promise<string[]> {
  const [link] = JSON.parse(await run(['nsenter', `--net=${netns}`, 'ip', '-json', 'address', 'show', 'dev', 'eth0']))
  return link.addr_info
    .filter(({ scope }: { scope: string }) => scope === 'global')
    .map((one: { local: string; prefixlen: number }) => `${one.local}/${one.prefixlen}`)
}

/** From another host. */
async function pageFor({ underlay }: Context, url: string): Promise<string> {
  const other = underlay.hosts[1]?.path ?? ''
  return run(['nsenter', `--net=${other}`, 'busybox', 'wget', '-q', '-O', '-', url])
}

async function nothingLeft({ heddle, underlay, containerd }: Context): Promise<void> {
  await checkLeaks([{ name: 'node-1', netns: underlay.hosts[0]?.path ?? '', heddle, enginePid: containerd.program.pid }], 20_000, 'there')
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; !(await isSo().catch(() => false)); attempt++) {
    if (attempt === 400) throw new Error('it did not come about in 20 s')
    await delay(50)
  }
}
