// The plugin dies, comes late, or stands without its brains, under a dockerd and containers that run on.
import test from 'ava'
import { addressesOf, allIsGone, eventually, ours, pageOf, pings, serving, sleeping, stageBefore } from '../docker/stage.ts'

const sweeps = { networks: { sweepIntervalMs: 500, graceMs: 2_000 }, ipam: { sweepIntervalMs: 500, provisionalGraceMs: 3_000, graceMs: 2_000 } }
const withDocker = stageBefore({ hosts: 2, config: sweeps })

test.serial(
  'a gateway that is killed or stopped disturbs no container, and its next life knows every endpoint; a command given meanwhile succeeds',
  withDocker(async (t, { hosts }) => {
    const [, host] = hosts
    if (host === undefined) throw new Error('there is no second host')
    await host.docker(`network create ${ours} --subnet 10.5.0.0/24 -o kind=bridge red`)
    await host.docker(`network create ${ours} --subnet 10.6.0.0/24 blue`)
    await serving(host, 'web', '--network red --ip 10.5.0.111 -p 8080:80')
    await sleeping(host, 'peer', '--network red')
    const fetch = (url: string) => host.exec(['busybox', 'wget', '-q', '-O', '-', url])
    for (const how of ['kill', 'stop'] as const) {
      const before = await addressesOf(host, 'web')
      await host.heddle[how]()
      t.true(await pings(host, 'peer', '10.5.0.111'), how)
      t.is(await pageOf(fetch, `http://${host.host.address}:8080/`), 'web', how)
      // dockerd asks again for some seconds, as long as it can send what it has to say again.
      const commands = Promise.all([host.docker('network connect --ip 10.6.0.111 blue web'), host.docker(`network create ${ours} --subnet 10.7.0.0/24 late`)])
      await host.restartHeddle('kill')
      await commands
      t.deepEqual(
        (await addressesOf(host, 'web')).filter((one) => one !== '10.6.0.111/24'),
        before,
        how,
      )
      t.true((await addressesOf(host, 'web')).includes('10.6.0.111/24'), how)
      t.is(await pageOf(fetch, `http://${host.host.address}:8080/`), 'web', how)
      await host.docker('network disconnect blue web')
      await host.docker('network rm late')
    }
    await host.restartHeddle('kill')
    await host.docker('restart --time 0 web')
    t.true((await addressesOf(host, 'web')).includes('10.5.0.111/24'))
    t.is(await pageOf(fetch, `http://${host.host.address}:8080/`), 'web')
    await host.docker('rm --force web peer')
    await host.docker('network rm red blue')
    await allIsGone(t, host)
  }),
)

test.serial(
  'T12: a dockerd that starts before its plugin waits for it and begins its containers; a network made meanwhile is made when the plugin is there',
  withDocker(async (t, { hosts }) => {
    const [, host] = hosts
    if (host === undefined) throw new Error('there is no second host')
    await host.docker(`network create ${ours} --subnet 10.5.0.0/24 -o kind=bridge red`)
    await serving(host, 'web', '--restart always --network red --ip 10.5.0.111')
    await host.dockerd.kill()
    await host.heddle.kill()
    const dockerd = host.dockerd.restart()
    await host.restartHeddle('kill')
    await dockerd
    const create = host.docker(`network create ${ours} --subnet 10.6.0.0/24 late`)
    t.is(await pageOf((url) => host.exec(['busybox', 'wget', '-q', '-O', '-', url]), 'http://10.5.0.111/'), 'web')
    await create
    await host.docker('rm --force web')
    await host.docker('network rm red late')
    await allIsGone(t, host)
  }),
)

test.serial(
  'T13: with every brain away containers stop, are removed and disconnected at once, a new one is refused, and all is tidied up when the brains are back',
  withDocker(async (t, { hosts }) => {
    const [control, host] = hosts
    if (control === undefined || host === undefined) throw new Error('there is no second host')
    await host.docker(`network create ${ours} --subnet 10.5.0.0/24 -o kind=bridge red`)
    await host.docker(`network create ${ours} --subnet 10.6.0.0/24 blue`)
    await serving(host, 'web', '--network red --ip 10.5.0.111 -p 8080:80')
    await sleeping(host, 'peer', '--network red')
    await host.docker('network connect blue peer')
    await control.heddle.kill()
    t.true(await pings(host, 'peer', '10.5.0.111'), 'nobody is needed for what stands')
    t.regex(await host.refused('run --rm --network red IMAGE'), /not connected to NATS|no result within/)
    await host.docker('network disconnect blue peer')
    await host.docker('rm --force web')
    await host.docker('stop --time 0 peer')
    t.deepEqual(
      JSON.parse(await host.exec('ip -json link')).filter(({ ifname }: any) => /^h[dp]/.test(ifname)),
      [],
    )
    await control.restartHeddle('kill')
    t.deepEqual(
      await eventually(
        () => control.heddle.json(['endpoint', 'ls']),
        (endpoints: any[]) => endpoints.length === 0,
        40_000,
      ),
      [],
    )
    await host.docker('start peer')
    t.is((await addressesOf(host, 'peer')).length, 1)
    await host.docker('rm --force peer')
    await host.docker('network rm red blue')
    await allIsGone(t, host)
  }),
)
