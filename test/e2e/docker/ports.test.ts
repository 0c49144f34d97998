// Ports published with `docker run -p`, on a bridge that is the container's way out and on an overlay, whose way out is Docker's; asked for from outside.

import { attempt, run, startProgram } from '@heddle/testkit'
import test, { type ExecutionContext } from 'ava'
import { allIsGone, linksOf, ours, pageOf, type Stage, serving, sleeping, stageBefore } from './stage.ts'

const withDocker = stageBefore({ hosts: 1 })

/** A command in the namespace of the switch: somebody else on the wire. */
function outside({ underlay }: Stage, command: readonly string[]): Promise<string> {
  return run(['nsenter', `--net=${underlay.switchPath}`, ...command], { timeoutMs: 10_000 })
}

function fetched(stage: Stage, from: 'outside' | 'host', address: string, port: number | string): Promise<string> {
  const fetch = (url: string) =>
    from === 'outside' ? outside(stage, ['busybox', 'wget', '-q', '-O', '-', url]) : stage.host.exec(['busybox', 'wget', '-q', '-O', '-', url])
  return pageOf(fetch, `http://${address.includes(':') ? `[${address}]` : address}:${port}/`)
}

async function isClosed(t: ExecutionContext, { underlay, host }: Stage, port: number | string): Promise<void> {
  const { code } = await attempt(['nsenter', `--net=${underlay.switchPath}`, 'busybox', 'nc', '-w', '1', host.host.address, `${port}`], { timeoutMs: 5_000 })
  t.not(code, 0, `port ${port} is open`)
}

const echo = `require('node:dgram').createSocket('udp4').on('message', function (text, { port, address }) { this.send(text, port, address) }).bind(53)`
const knock = `
  const socket = require('node:dgram').createSocket('udp4').on('message', (text) => { console.log(String(text)); process.exit() })
  setInterval(() => socket.send('knock', Number(process.argv[2]), process.argv[1]), 100)`

/** Echoes every datagram to port 53 of a container. */
async function echoing({ host, scope, dir }: Stage, container: string): Promise<void> {
  const pid = await host.docker(`inspect --format {{.State.Pid}} ${container}`)
  await startProgram(scope, { name: 'echo', netns: `/proc/${pid}/ns/net`, command: [process.execPath, '-e', echo], logPath: `${dir}/echo.log` })
}

/** As the record says, for `docker ps` does not: Docker knows only ports it publishes itself. */
async function recordedPorts({ host }: Stage, address: string): Promise<string[]> {
  const endpoints: any[] = await host.heddle.json(['endpoint', 'ls'])
  const { ports } = endpoints.find(({ addresses }) => addresses.some((one: string) => one.startsWith(`${address}/`)))
  return (ports ?? []).map(({ protocol, hostAddress, hostPort, containerPort }: any) => `${hostAddress ?? ''}:${hostPort}->${containerPort}/${protocol}`)
}

test.serial(
  'on a bridge: tcp and udp, from outside and from the host, over IPv4 and IPv6, and at one address of the host alone',
  withDocker(async (t, stage) => {
    const { host } = stage
    await host.docker(`network create ${ours} --subnet 10.5.0.0/24 --subnet fd05::/64 --ipv6 -o kind=bridge red`)
    await serving(host, 'web', '--network red --ip 10.5.0.10 -p 8080:80 -p 127.0.0.1:8081:80 -p 8082:80/tcp')
    await sleeping(host, 'echo', '--network red -p 5353:53/udp')
    await echoing(stage, 'echo')
    for (const from of ['outside', 'host'] as const) {
      t.is(await fetched(stage, from, host.host.address, 8080), 'web', from)
      t.is(await fetched(stage, from, host.host.address6, 8080), 'web', from)
    }
    t.is(await fetched(stage, 'host', '127.0.0.1', 8080), 'web')
    t.is(await fetched(stage, 'host', '127.0.0.1', 8081), 'web')
    await isClosed(t, stage, 8081)
    t.is(await fetched(stage, 'outside', host.host.address, 8082), 'web')
    t.is(await outside(stage, [process.execPath, '-e', knock, host.host.address, '5353']), 'knock\n')
    t.is(await host.docker('port web'), '', 'Docker knows nothing of them')
    t.deepEqual((await recordedPorts(stage, '10.5.0.10')).sort(), ['127.0.0.1:8081->80/tcp', ':8080->80/tcp', ':8082->80/tcp'])
  }),
)

test.serial(
  'another container reaches a published port at the address of the host, and so does the container itself',
  withDocker(async (t, stage) => {
    const { host } = stage
    await host.docker(`network create ${ours} --subnet 10.6.0.0/24 -o kind=bridge green`)
    for (const network of ['red', 'green', 'container:web'])
      t.is(await host.docker(`run --rm --network ${network} IMAGE wget -q -O - http://${host.host.address}:8080/`), 'web', network)
  }),
)

test.serial(
  'ranges: as many ports as the container has, or the first free one of the range for a single port; none named is one of the machine’s choice',
  withDocker(async (t, stage) => {
    const { host } = stage
    await serving(host, 'each', '--network red --ip 10.5.0.101 -p 8100-8102:80-82')
    t.deepEqual((await recordedPorts(stage, '10.5.0.101')).sort(), [':8100->80/tcp', ':8101->81/tcp', ':8102->82/tcp'])
    t.is(await fetched(stage, 'outside', host.host.address, 8100), 'each')
    await serving(host, 'any', '--network red --ip 10.5.0.102 -p 8100-8105:80')
    t.deepEqual(await recordedPorts(stage, '10.5.0.102'), [':8103->80/tcp'])
    t.is(await fetched(stage, 'outside', host.host.address, 8103), 'any')
    await serving(host, 'some', '--network red --ip 10.5.0.103 -p 80')
    const [chosen = ''] = await recordedPorts(stage, '10.5.0.103')
    const port = /^:(\d+)->80\/tcp$/.exec(chosen)?.[1] ?? ''
    t.true(Number(port) >= 32_768, chosen)
    t.is(await fetched(stage, 'outside', host.host.address, port), 'some')
    await host.docker('rm --force each any some')
    for (const closed of [8100, 8103, port]) await isClosed(t, stage, closed)
  }),
)

test.serial(
  'a port that is taken is refused by name, and is there for the container once it is free; stop closes, start opens',
  withDocker(async (t, stage) => {
    const { host } = stage
    await host.docker('create --name second --network red --ip 10.5.0.104 -p 8080:80 IMAGE httpd -f -p 80 -h /www')
    t.regex(await host.refused('start second'), /8080.*(taken|in use|published)/)
    t.is(await fetched(stage, 'outside', host.host.address, 8080), 'web', 'the first keeps it')
    await host.docker('stop --time 0 web')
    await isClosed(t, stage, 8080)
    await host.docker('start second')
    t.deepEqual(await recordedPorts(stage, '10.5.0.104'), [':8080->80/tcp'])
    await host.docker('rm --force second')
    await host.docker('start web')
    t.is(await fetched(stage, 'outside', host.host.address, 8080), 'web')
    await host.docker('restart --time 0 web')
    t.is(await fetched(stage, 'outside', host.host.address, 8080), 'web')
  }),
)

test.serial(
  'ports follow the way out: to the network connected first and last, and away with the one that is disconnected',
  withDocker(async (t, stage) => {
    const { host } = stage
    await host.docker(`network create ${ours} --subnet 10.7.0.0/24 blue`)
    await serving(host, 'moved', '--network blue -p 8090:80')
    t.is(await fetched(stage, 'outside', host.host.address, 8090), 'moved', "by Docker's own bridge")
    t.regex(await host.docker('port moved'), /80\/tcp -> 0\.0\.0\.0:8090/, 'and so `docker ps` shows it')
    t.is(Object.keys(await linksOf(host, 'moved')).length, 2)
    await host.docker('network connect --ip 10.5.0.105 red moved')
    t.deepEqual(await recordedPorts(stage, '10.5.0.105'), [':8090->80/tcp'])
    t.is(await fetched(stage, 'outside', host.host.address, 8090), 'moved', 'by the bridge that is its way out now')
    await host.docker('network disconnect red moved')
    t.is(await fetched(stage, 'outside', host.host.address, 8090), 'moved', "by Docker's again")
    await host.docker('rm --force moved')
    await isClosed(t, stage, 8090)
  }),
)

test.serial(
  'where there is no way out, nothing is published: refused by an overlay with a gateway of its own, silent on an internal network',
  withDocker(async (t, stage) => {
    const { host } = stage
    await host.docker(`network create ${ours} --subnet 10.8.0.0/24 --gateway 10.8.0.1 -o gateway=network routed`)
    t.regex(await host.refused('run --rm --network routed -p 8091:80 IMAGE'), /ports cannot be published on .*leave -p out/)
    await host.docker(`network create ${ours} --subnet 10.9.0.0/24 --internal -o kind=bridge inner`)
    await sleeping(host, 'inner', '--network inner -p 8092:80')
    t.deepEqual(Object.keys(await linksOf(host, 'inner')), ['eth0'])
    await isClosed(t, stage, 8092)
  }),
)

test.serial(
  'at the end no port is open and nothing is left',
  withDocker(async (t, stage) => {
    const { host } = stage
    await host.docker('rm --force web echo inner second')
    for (const port of [8080, 8082, 8092]) await isClosed(t, stage, port)
    await host.docker('network rm red green blue routed inner')
    await allIsGone(t, host)
  }),
)
