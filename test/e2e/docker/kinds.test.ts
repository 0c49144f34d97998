// Networks made from a link of the host, and of no link at all, with real dockerds on two hosts of one wire; and a bridge told to be less than usual.
import { run } from '@heddle/testkit'
import test from 'ava'
import { addressesOf, allIsGone, gatewaysOf, linksOf, ours, pageFrom, pageOf, pings, remains, type Stage, serving, sleeping, stageBefore } from './stage.ts'

const withDocker = stageBefore({ hosts: 2 })
const wire = `${ours} --opt network=wire --ipam-opt network=wire`

const hostsOf = ({ hosts }: Stage) => [hosts[0], hosts[1]] as [NonNullable<(typeof hosts)[0]>, NonNullable<(typeof hosts)[0]>]

test.serial(
  'macvlan: containers of both hosts are on the wire itself, with addresses of one pool, the wire’s own gateway, and no bridge between',
  withDocker(async (t, stage) => {
    const [one, two] = hostsOf(stage)
    const { underlay } = stage
    const [device = ''] = (await run(['ip', '-netns', nameOf(underlay.switchPath), '-brief', 'link', 'show', 'type', 'bridge'])).split(' ')
    await run(['ip', '-netns', nameOf(underlay.switchPath), 'address', 'add', '10.5.0.1/24', 'dev', device])
    for (const host of [one, two]) await host.docker(`network create ${wire} --subnet 10.5.0.0/24 --gateway 10.5.0.1 -o kind=macvlan -o parent=eth0 wire`)
    await serving(one, 'web-1', '--network wire')
    await serving(two, 'web-2', '--network wire --ip 10.5.0.77 --mac-address 02:00:00:00:00:77')
    t.deepEqual(Object.keys(await linksOf(one, 'web-1')), ['eth0'])
    t.is((await linksOf(two, 'web-2'))['eth0']?.mac, '02:00:00:00:00:77')
    t.deepEqual(await gatewaysOf(one, 'web-1'), ['10.5.0.1'])
    t.is(await pageFrom(one, 'web-1', '10.5.0.77'), 'web-2')
    t.true(await pings(one, 'web-1', '10.5.0.1'), 'the router of the wire')
    const fetch = (url: string) => run(['nsenter', `--net=${underlay.switchPath}`, 'busybox', 'wget', '-q', '-O', '-', url])
    t.is(await pageOf(fetch, 'http://10.5.0.77/'), 'web-2', 'who has its own address there, without published ports')
    t.notRegex(await two.exec('ip -oneline link'), /\bhb[0-9a-f]{11}\b/)
    await sleeping(one, 'neighbour', '--network wire')
    t.is(await pageFrom(one, 'neighbour', 'web-1'), 'web-1', 'by name, on one host')
    await two.docker('restart --time 0 web-2')
    t.deepEqual(await addressesOf(two, 'web-2'), ['10.5.0.77/24'])
    t.is(await pageFrom(one, 'web-1', '10.5.0.77'), 'web-2')
    t.regex(await one.refused('run --rm --network wire --ip 10.5.0.77 IMAGE'), /10\.5\.0\.77 .*is held by .* on host host-2/)
    t.regex(await one.refused('network rm wire'), /has active endpoints/)
    await one.docker('rm --force web-1 neighbour')
    await two.docker('rm --force web-2')
    for (const host of [one, two]) await host.docker('network rm wire')
    await allIsGone(t, one)
    t.notRegex(await one.exec('ip -oneline link'), /macvlan/)
  }),
)

test.serial(
  'macvlan_mode: containers of a private network do not reach each other, and the parent of a passthru one is had by one network only',
  withDocker(async (t, stage) => {
    const [host] = hostsOf(stage)
    await host.docker(`network create ${ours} --subnet 10.6.0.0/24 -o kind=macvlan -o parent=eth0 -o macvlan_mode=private alone`)
    await sleeping(host, 'one', '--network alone --ip 10.6.0.11')
    await sleeping(host, 'two', '--network alone --ip 10.6.0.12')
    t.false(await pings(host, 'one', '10.6.0.12'))
    await host.docker('rm --force one two')
    await host.docker('network rm alone')
    t.regex(
      await host.refused(`network create ${ours} -o kind=macvlan -o parent=eth0 -o macvlan_mode=ring ring`),
      /macvlan_mode.*bridge, private, vepa, passthru/,
    )
    await host.exec('ip link add nic7 type veth peer name other')
    await host.docker(`network create ${ours} --subnet 10.6.0.0/24 -o kind=macvlan -o parent=nic7 -o macvlan_mode=passthru through`)
    await sleeping(host, 'one', '--network through')
    t.regex(await host.refused('run --rm --network through IMAGE'), /nic7/)
    await host.docker('rm --force one')
    await host.docker('network rm through')
    await allIsGone(t, host)
  }),
)

test.serial(
  'host-device: an interface of the host is in the container as long as that runs, and back under its name afterwards',
  withDocker(async (t, stage) => {
    const [host] = hostsOf(stage)
    await host.docker(`network create ${ours} --subnet 10.16.0.0/24 -o kind=host-device -o parent=nic7 nic`)
    await sleeping(host, 'owner', '--network nic --ip 10.16.0.11')
    t.deepEqual((await linksOf(host, 'owner'))['eth0']?.addresses, ['10.16.0.11/24'])
    t.notRegex(await host.exec('ip -oneline link'), /nic7/)
    t.regex(await host.refused('run --rm --network nic IMAGE'), /nic7/)
    await host.docker('restart --time 0 owner')
    t.deepEqual((await linksOf(host, 'owner'))['eth0']?.addresses, ['10.16.0.11/24'])
    await host.docker('rm --force owner')
    t.regex(await host.exec('ip -oneline link'), /nic7/)
    await host.docker('network rm nic')
    await allIsGone(t, host)
  }),
)

test.serial(
  'null: an address is had and recorded, and no link is made',
  withDocker(async (t, stage) => {
    const [host] = hostsOf(stage)
    await host.docker(`network create ${ours} --subnet 10.17.0.0/24 -o kind=null nothing`)
    await sleeping(host, 'one', '--network nothing --ip 10.17.0.11')
    t.deepEqual(await linksOf(host, 'one'), {})
    t.deepEqual((await host.heddle.json(['endpoint', 'ls']))[0].addresses, ['10.17.0.11/24'])
    t.regex(await host.refused('run --rm --network nothing --ip 10.17.0.11 IMAGE'), /10\.17\.0\.11 .*is held by/)
    await host.docker('rm --force one')
    await host.docker('network rm nothing')
    await allIsGone(t, host)
  }),
)

test.serial(
  'a bridge told by the options of Docker’s own: no talk between containers, the address of the host for ports, interfaces of another name, no masquerading',
  withDocker(async (t, stage) => {
    const [host] = hostsOf(stage)
    const { underlay } = stage
    const bridge = 'com.docker.network.bridge'
    const options = `-o ${bridge}.enable_icc=false -o ${bridge}.host_binding_ipv4=127.0.0.1 -o com.docker.network.container_iface_prefix=net`
    await host.docker(`network create ${ours} --subnet 10.18.0.0/24 -o kind=bridge ${options} apart`)
    await serving(host, 'one', '--network apart --ip 10.18.0.11 -p 8080:80')
    await sleeping(host, 'two', '--network apart --ip 10.18.0.12')
    t.deepEqual(Object.keys(await linksOf(host, 'one')), ['net0'])
    t.false(await pings(host, 'one', '10.18.0.12'))
    t.true(await pings(host, 'one', underlay.gateway))
    const fetch = (url: string) => host.exec(['busybox', 'wget', '-q', '-O', '-', url])
    t.is(await pageOf(fetch, 'http://127.0.0.1:8080/'), 'one')
    await t.throwsAsync(fetch(`http://${host.host.address}:8080/`))
    await host.docker(`network create ${ours} --subnet 10.7.0.0/24 -o kind=bridge -o ${bridge}.enable_ip_masquerade=false plain`)
    await sleeping(host, 'three', '--network plain')
    t.false(await pings(host, 'three', underlay.gateway), 'who does not know the way back to its address')
    await run(['ip', '-netns', nameOf(underlay.switchPath), 'route', 'add', '10.7.0.0/24', 'via', host.host.address])
    t.true(await pings(host, 'three', underlay.gateway))
    await host.docker('rm --force one two three')
    await host.docker('network rm apart plain')
    await allIsGone(t, host)
    t.deepEqual(await remains(host), [])
  }),
)

function nameOf(namespace: string | undefined): string {
  return namespace?.split('/').at(-1) ?? ''
}
