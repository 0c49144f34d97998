// A host whose power fails: processes, namespaces, links and /run are gone; Docker's networks and containers, and Heddle's records, are there.
import test from 'ava'
import { addressesOf, allIsGone, eventually, gatewaysOf, ours, pageFrom, pageOf, serving, sleeping, stageBefore } from '../docker/stage.ts'

const sweeps = { networks: { sweepIntervalMs: 500, graceMs: 2_000 }, ipam: { sweepIntervalMs: 500, provisionalGraceMs: 3_000, graceMs: 2_000 } }
const withDocker = stageBefore({ hosts: 1, config: sweeps })

test.serial(
  'a host that was rebooted has its networks, and its containers with their addresses and ports; what was dead is swept',
  withDocker(async (t, { host }) => {
    await host.docker(`network create ${ours} --subnet 10.5.0.0/24 --subnet fd05::/64 --ipv6 -o kind=bridge red`)
    await host.docker(`network create ${ours} --subnet 10.6.0.0/24 --ipam-opt network=blue -o network=blue blue`)
    await serving(host, 'web', '--restart always --network red --ip 10.5.0.111 -p 8080:80')
    await host.docker('network connect --ip 10.6.0.111 blue web')
    await sleeping(host, 'once', '--network red --ip 10.5.0.112')
    await sleeping(host, 'dynamic', '--restart always --network blue')
    await host.reboot()

    t.is(await pageOf((url) => host.exec(['busybox', 'wget', '-q', '-O', '-', url]), `http://${host.host.address}:8080/`), 'web')
    t.deepEqual((await addressesOf(host, 'web')).filter((one) => !one.includes(':')).sort(), ['10.5.0.111/24', '10.6.0.111/24'])
    t.deepEqual(await gatewaysOf(host, 'web'), ['10.5.0.1', 'fd05::1'])
    await eventually(
      () => host.docker('ps --quiet'),
      (ids) => ids.split('\n').length === 2,
    )
    t.is(await pageFrom(host, 'dynamic', '10.6.0.111'), 'web')
    t.is(await pageFrom(host, 'dynamic', 'web'), 'web', "by Docker's own DNS too")
    await host.docker('start once')
    t.is(await pageFrom(host, 'once', 'web'), 'web')
    const endpoints = async () => ((await host.heddle.json(['endpoint', 'ls'])) as any[]).length
    t.is(await eventually(endpoints, (count) => count === 4), 4)
    t.like(await host.dockerd.api('GET', '/networks/blue'), { Driver: 'heddle', Options: { network: 'blue' } })

    await host.docker('rm --force web dynamic once')
    await host.docker('network rm red blue')
    await allIsGone(t, host)
  }),
)
