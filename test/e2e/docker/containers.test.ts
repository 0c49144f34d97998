// The life of a container on Heddle's networks as its user commands it, word for word of Docker's client, with a real dockerd.
import test from 'ava'
import { addressesOf, allIsGone, eventually, gatewaysOf, linksOf, ours, pageFrom, pings, serving, sleeping, stageBefore } from './stage.ts'

const withDocker = stageBefore({ hosts: 1, config: { ipam: { sweepIntervalMs: 500, provisionalGraceMs: 3_000 } } })

test.serial(
  'run: a container gets its interface, addresses of both families, its gateway and MTU, and is named in `network inspect`',
  withDocker(async (t, { host, underlay }) => {
    const subnets = '--subnet 10.5.0.0/16 --subnet fd05::/64 --ipv6 --ip-range 10.5.4.0/24'
    await host.docker(`network create ${ours} ${subnets} -o kind=bridge -o com.docker.network.driver.mtu=1400 red`)
    await host.docker(`network create ${ours} --subnet 10.6.0.0/24 blue`)
    await serving(host, 'web', '--network red')
    const { eth0, ...others } = await linksOf(host, 'web')
    t.deepEqual(others, {})
    t.is(eth0?.mtu, 1400)
    t.regex(eth0?.addresses.join(' ') ?? '', /^10\.5\.4\.\d+\/16 fd05::\w+\/64$/)
    t.deepEqual(await gatewaysOf(host, 'web'), ['10.5.0.1', 'fd05::1'])
    const { Containers } = await host.dockerd.api('GET', '/networks/red')
    const [seen]: any[] = Object.values(Containers)
    t.like(seen, { Name: 'web', MacAddress: eth0?.mac, IPv4Address: eth0?.addresses[0], IPv6Address: eth0?.addresses[1] })
    const [endpoint] = await host.heddle.json(['endpoint', 'ls'])
    t.like(endpoint, { id: seen.EndpointID, runtime: 'docker', state: 'wired', mac: eth0?.mac, addresses: eth0?.addresses })

    t.true(await pings(host, 'web', '10.5.0.1'), 'its gateway')
    t.true(await pings(host, 'web', 'fd05::1'))
    t.true(await pings(host, 'web', host.host.address), 'its host')
    t.true(await pings(host, 'web', underlay.gateway), 'the outside, which knows no way back to its address')
  }),
)

test.serial(
  'run --ip --ip6 --mac-address --link-local-ip: what is asked for is what the container has, and nobody else may',
  withDocker(async (t, { host }) => {
    await sleeping(host, 'fixed', '--network red --ip 10.5.0.9 --ip6 fd05::99 --mac-address 02:aa:bb:cc:dd:ee --link-local-ip 169.254.7.7')
    t.deepEqual(await linksOf(host, 'fixed'), {
      eth0: { mac: '02:aa:bb:cc:dd:ee', mtu: 1400, addresses: ['10.5.0.9/16', '169.254.7.7/16', 'fd05::99/64'] },
    })
    for (const [options, message] of [
      ['--ip 10.5.0.9', /10\.5\.0\.9 .*is held by/],
      ['--ip6 fd05::99', /fd05::99 .*is held by/],
      ['--ip 10.5.0.1', /10\.5\.0\.1 .*gateway/],
      ['--ip 10.5.255.255', /10\.5\.255\.255/],
      ['--ip 10.7.0.9', /no configured subnet|invalid/i],
      ['--mac-address 02:aa:bb:cc:dd:ee', /02:aa:bb:cc:dd:ee/],
      ['--mac-address 03:aa:bb:cc:dd:ee', /multicast|unicast/],
    ] as const) {
      t.regex(await host.refused(`run --rm --name second --network red ${options} IMAGE`), message, options)
    }
    t.is(await pageFrom(host, 'fixed', 'web'), 'web', 'whose MAC somebody else asked for is reached as before')
    t.is((await host.heddle.json(['endpoint', 'ls'])).length, 2)
    const claimed = async () => (await host.heddle.json(['pool', 'ls'])).reduce((sum: number, pool: any) => sum + Number(pool.claimed ?? 0), 0)
    t.is(
      await eventually(claimed, (count) => count === 4),
      4,
      "Docker never releases the IPv4 address of a container whose IPv6 address is refused: ipam's sweep does",
    )
  }),
)

test.serial(
  "Docker's own DNS names the containers of a network to one another, and only those",
  withDocker(async (t, { host }) => {
    await host.docker('network connect --alias www blue web')
    await sleeping(host, 'other', '--network blue')
    t.is(await pageFrom(host, 'fixed', 'web'), 'web')
    t.is(await pageFrom(host, 'other', 'www'), 'web', 'an alias of this network')
    t.regex(await host.refused('exec fixed wget -q -O - http://www/'), /bad address/, 'which the other does not know')
    t.regex(await host.refused('exec other wget -q -O - http://fixed/'), /bad address/)
  }),
)

test.serial(
  'connect and disconnect: a sandbox holds an endpoint of each of its networks, and loses that of one',
  withDocker(async (t, { host }) => {
    await host.docker('network connect --ip 10.6.0.77 blue fixed')
    t.deepEqual((await linksOf(host, 'fixed'))['eth1'], { ...(await linksOf(host, 'fixed'))['eth1'], mtu: 1450, addresses: ['10.6.0.77/24'] } as any)
    t.deepEqual((await gatewaysOf(host, 'fixed'))[0], '10.5.0.1', 'the way out stays with the network that has one')
    t.true(await pings(host, 'other', '10.6.0.77'))
    t.regex(await host.refused('network connect blue fixed'), /already exists in network blue/, 'one endpoint a network')
    await host.docker('network disconnect blue fixed')
    t.deepEqual(Object.keys(await linksOf(host, 'fixed')), ['eth0'])
    t.regex(await host.refused('network disconnect blue fixed'), /not connected/)
    await host.docker('network disconnect --force red fixed')
    t.deepEqual(await linksOf(host, 'fixed'), {})
    await host.docker('network connect --ip 10.5.0.9 --ip6 fd05::99 red fixed')
    t.deepEqual(await addressesOf(host, 'fixed'), ['10.5.0.9/16', 'fd05::99/64'])
  }),
)

test.serial(
  'stop, start, restart: an address that was asked for is kept, on every network of the container',
  withDocker(async (t, { host }) => {
    await host.docker('network connect --ip 10.6.0.77 blue fixed')
    const before = new Set(await addressesOf(host, 'fixed'))
    await host.docker('stop --time 0 fixed')
    t.false(await pings(host, 'other', '10.6.0.77'))
    const inspected = await host.dockerd.api('GET', '/networks/blue')
    t.deepEqual(
      Object.values<any>(inspected.Containers)
        .map(({ Name }) => Name)
        .sort(),
      ['other', 'web'],
      'the endpoint went with its sandbox',
    )
    await host.docker('start fixed')
    t.deepEqual(new Set(await addressesOf(host, 'fixed')), before)
    await host.docker('restart --time 0 fixed')
    t.deepEqual(new Set(await addressesOf(host, 'fixed')), before)
    t.true(await pings(host, 'other', '10.6.0.77'))
    t.is(await pageFrom(host, 'fixed', 'web'), 'web')
    await host.docker('pause fixed')
    await host.docker('unpause fixed')
    t.deepEqual(new Set(await addressesOf(host, 'fixed')), before)
  }),
)

test.serial(
  'a container that was only created, or was stopped, is connected when it starts',
  withDocker(async (t, { host }) => {
    await host.docker('create --name later --network red --ip 10.5.0.20 IMAGE sleep 1000')
    await host.docker('network connect --ip 10.6.0.20 blue later')
    t.is((await host.heddle.json(['endpoint', 'ls'])).filter(({ addresses }: any) => addresses.includes('10.5.0.20/16')).length, 0, 'nothing before it starts')
    await host.docker('start later')
    t.true((await addressesOf(host, 'later')).includes('10.5.0.20/16'))
    t.true((await addressesOf(host, 'later')).includes('10.6.0.20/24'))
    await host.docker('kill later')
    await host.docker('network disconnect blue later')
    await host.docker('start later')
    t.false((await addressesOf(host, 'later')).includes('10.6.0.20/24'))
    await host.docker('rm --force later')
  }),
)

test.serial(
  'host, none and container: networking stand beside it as they always do',
  withDocker(async (t, { host }) => {
    t.regex(await host.docker('run --rm --network host IMAGE ip address show eth0'), new RegExp(host.host.address.replaceAll('.', '\\.')))
    t.notRegex(await host.docker('run --rm --network none IMAGE ip address'), /eth0/)
    await host.docker('create --name alone --network none IMAGE sleep 1000')
    t.regex(await host.refused('network connect red alone'), /none/, "Docker's own rule")
    await host.docker('rm alone')
    t.regex(await host.docker('run --rm --network container:fixed IMAGE ip address show'), /10\.5\.0\.9\/16/)
    t.is(await host.docker('run --rm --network container:web IMAGE wget -q -O - http://127.0.0.1/'), 'web', "in the other's sandbox")
    t.is(await host.docker('run --rm --network host IMAGE wget -q -O - http://10.5.4.0/').catch(() => 'web'), 'web')
    t.is((await host.heddle.json(['endpoint', 'ls'])).length, 5, 'none of them is an endpoint')
  }),
)

test.serial(
  'rm --force and network rm: refused while there is an endpoint, and at the end nothing is left',
  withDocker(async (t, { host }) => {
    t.regex(await host.refused('network rm red'), /has active endpoints/)
    await host.docker('rm --force web fixed')
    t.regex(await host.refused('network rm blue'), /has active endpoints/)
    await host.docker('stop --time 0 other')
    await host.docker('network rm red blue')
    await host.docker('rm other')
    await allIsGone(t, host)
    t.regex(await host.refused('network inspect red'), /No such network/)
  }),
)
