// T1: a dockerd that is killed sends neither Leave nor DeleteEndpoint, with or without its containers, once and again.
import { pluginClient } from '@heddle/testkit'
import test from 'ava'
import { addressesOf, allIsGone, eventually, ours, pageFrom, pageOf, pings, type Stage, serving, sleeping, stageBefore } from '../docker/stage.ts'

const sweeps = {
  networks: { sweepIntervalMs: 500, graceMs: 2_000, waitingGraceMs: 4_000, reservedGraceMs: 4_000 },
  ipam: { sweepIntervalMs: 500, provisionalGraceMs: 3_000, graceMs: 2_000 },
  wiring: { reconcileMs: 1_000, orphanGraceMs: 1_000 },
}
const withDocker = stageBefore({ hosts: 1, config: sweeps })

function endpointIds({ host }: Stage): Promise<string[]> {
  return host.heddle.json(['endpoint', 'ls']).then((endpoints: any[]) => endpoints.map(({ id }) => id).sort())
}

/** Docker's own. */
async function livingIds({ host }: Stage, network: string): Promise<string[]> {
  const { Containers } = await host.dockerd.api('GET', `/networks/${network}`)
  return Object.values<any>(Containers)
    .map(({ EndpointID }) => EndpointID)
    .sort()
}

test.serial(
  'T1: containers live on while no dockerd runs; the next one begins them anew, with the addresses they asked for, and what it forgot is swept',
  withDocker(async (t, stage) => {
    const { host } = stage
    await host.docker(`network create ${ours} --subnet 10.5.0.0/24 -o kind=bridge red`)
    await host.docker(`network create ${ours} --subnet 10.6.0.0/24 blue`)
    await serving(host, 'always', '--restart always --network red --ip 10.5.0.111 -p 8080:80')
    await host.docker('network connect --ip 10.6.0.111 blue always')
    await serving(host, 'never', '--network red --ip 10.5.0.112')
    await sleeping(host, 'dynamic', '--restart always --network red')
    const before = await endpointIds(stage)
    t.is(before.length, 4)
    const fetch = (url: string) => host.exec(['busybox', 'wget', '-q', '-O', '-', url])

    await host.dockerd.kill()
    t.is(await pageOf(fetch, 'http://10.5.0.111/'), 'always', 'nobody told the container')
    t.is(await pageOf(fetch, `http://${host.host.address}:8080/`), 'always')

    await host.dockerd.restart()
    t.is(
      await eventually(
        () => pageOf(fetch, `http://${host.host.address}:8080/`),
        (page) => page === 'always',
      ),
      'always',
    )
    await eventually(
      () => host.docker('ps --quiet'),
      (ids) => ids.split('\n').length === 2,
    )
    t.deepEqual((await addressesOf(host, 'always')).sort(), ['10.5.0.111/24', '10.6.0.111/24'])
    t.is((await addressesOf(host, 'dynamic')).length, 1)
    const living = async () => [...(await livingIds(stage, 'red')), ...(await livingIds(stage, 'blue'))].sort()
    t.is((await living()).length, 3)
    t.deepEqual(
      await eventually(
        () => endpointIds(stage),
        (ids) => ids.length === 3,
      ),
      await living(),
      'the endpoints of the first life are gone',
    )
    t.is((await endpointIds(stage)).filter((id) => before.includes(id)).length, 0)

    await host.docker('start never')
    t.is(await pageFrom(host, 'dynamic', '10.5.0.112'), 'never', 'an address that nobody released can be had again')
    await host.docker('rm --force always dynamic never')
    await host.docker('network rm red blue')
    await allIsGone(t, host)
  }),
)

test.serial(
  'live-restore: a container keeps interface, address and port through a dockerd killed and one that was stopped, and goes at the word of the next',
  withDocker(async (t, stage) => {
    const { host } = stage
    await host.dockerd.restart(['--live-restore'])
    await host.docker(`network create ${ours} --subnet 10.5.0.0/24 -o kind=bridge red`)
    await host.docker(`network create ${ours} --subnet 10.6.0.0/24 blue`)
    await serving(host, 'web', '--network red --ip 10.5.0.111 -p 8080:80')
    await host.docker('network connect blue web')
    await sleeping(host, 'peer', '--network red')
    const before = await endpointIds(stage)
    const links = await addressesOf(host, 'web')
    const started = await host.docker('inspect --format {{.State.StartedAt}} web')
    const fetch = (url: string) => host.exec(['busybox', 'wget', '-q', '-O', '-', url])
    for (const how of ['killed', 'stopped'] as const) {
      if (how === 'killed') await host.dockerd.kill()
      await host.dockerd.restart(['--live-restore'])
      t.is(await host.docker('inspect --format {{.State.StartedAt}} web'), started, `${how}: it is the same container`)
      t.deepEqual(await addressesOf(host, 'web'), links, how)
      t.deepEqual(await endpointIds(stage), before, how)
      t.true(await pings(host, 'peer', '10.5.0.111'), how)
      t.is(await pageOf(fetch, `http://${host.host.address}:8080/`), 'web', how)
    }
    t.regex(await host.refused('network rm red'), /has active endpoints/, 'Docker still knows whose they are')
    await host.docker('restart --time 0 web')
    t.true((await addressesOf(host, 'web')).includes('10.5.0.111/24'))
    t.is(await pageOf(fetch, `http://${host.host.address}:8080/`), 'web')
    await host.docker('network disconnect red peer')
    t.deepEqual(
      await eventually(
        () => endpointIds(stage),
        (ids) => ids.length === 2,
      ),
      [...(await livingIds(stage, 'red')), ...(await livingIds(stage, 'blue'))].sort(),
    )
    await host.docker('rm --force web peer')
    await host.docker('network rm red blue')
    await allIsGone(t, host)
    await host.dockerd.restart()
  }),
)

test.serial(
  'T2: an endpoint of which Docker forgot to say that it is deleted, its interface still on the host, is swept with its address',
  withDocker(async (t, stage) => {
    const { host, scope } = stage
    await host.docker(`network create ${ours} --subnet 10.5.0.0/24 -o kind=bridge red`)
    await sleeping(host, 'living', '--network red')
    const { Id: NetworkID } = await host.dockerd.api('GET', '/networks/red')
    const plugin = pluginClient(`${host.heddle.pluginDir}/heddle.sock`)
    scope.defer('plugin client', () => plugin.close())
    // As a dockerd that dies between two of its calls leaves them.
    for (const [endpoint, last] of [
      ['a', 'CreateEndpoint'],
      ['b', 'Join'],
    ] as const) {
      const ids = { NetworkID, EndpointID: endpoint.repeat(64) }
      t.is((await plugin.call('NetworkDriver.CreateEndpoint', { ...ids, Interface: {}, Options: null })).status, 200)
      if (last === 'Join') t.is((await plugin.call('NetworkDriver.Join', { ...ids, SandboxKey: '', Options: null })).status, 200)
    }
    t.is((await endpointIds(stage)).length, 3)
    t.deepEqual(
      await eventually(
        () => endpointIds(stage),
        (ids) => ids.length === 1,
        30_000,
      ),
      await livingIds(stage, 'red'),
    )
    const links = async () => (await host.exec('ip -oneline link')).match(/\bh[dp][0-9a-f]{11}/g) ?? []
    t.is((await eventually(links, ({ length }) => length === 1, 30_000)).length, 1, 'of what lives')
    t.true(await pings(host, 'living', '10.5.0.1'))
    await host.docker('rm --force living')
    await host.docker('network rm red')
    await allIsGone(t, host)
  }),
)

test.serial(
  'T1: dockerd and all containers gone at once, and no dockerd comes back: the sweeps find that the interfaces are gone',
  withDocker(async (t, { host }) => {
    await host.docker(`network create ${ours} --subnet 10.5.0.0/24 -o kind=bridge red`)
    await serving(host, 'web', '--network red -p 8080:80')
    await sleeping(host, 'peer', '--network red')
    await host.dockerd.halt()
    t.deepEqual(
      await eventually(
        () => host.heddle.json(['endpoint', 'ls']),
        (endpoints: any[]) => endpoints.length === 0,
      ),
      [],
    )
    const claimed = async () => (await host.heddle.json(['pool', 'ls'])).reduce((sum: number, pool: any) => sum + Number(pool.claimed ?? 0), 0)
    t.is(await eventually(claimed, (count) => count === 0), 0)
    t.notRegex(await host.exec('nft list ruleset'), /8080/, 'a published port would lead to whoever has the address next')
  }),
)
