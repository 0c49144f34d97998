// One logical network on the dockerds of two hosts that know nothing of each other: no swarm, no key-value store of Docker's.
import test, { type ExecutionContext } from 'ava'
import { addressesOf, allIsGone, ours, pageFrom, pings, remains, type Stage, serving, sleeping, stageBefore } from './stage.ts'

const withDocker = stageBefore({ hosts: 2 })
const blue = `${ours} --opt network=blue --ipam-opt network=blue`

const hostsOf = ({ hosts }: Stage) => [hosts[0], hosts[1]] as [NonNullable<(typeof hosts)[0]>, NonNullable<(typeof hosts)[0]>]

async function reachEachOther(t: ExecutionContext, stage: Stage): Promise<void> {
  const both = hostsOf(stage)
  for (const [index, host] of both.entries()) {
    const name = `web-${index + 1}`
    const other = `web-${2 - index}`
    for (const address of await addressesOf(both[1 - index] ?? host, other)) {
      const [bare = ''] = address.split('/')
      if (bare.startsWith('172.')) continue // Docker's own way out, of each host alone.
      t.true(await pings(host, name, bare), `${name} to ${bare}`)
      t.is(await pageFrom(host, name, bare.includes(':') ? `[${bare}]` : bare), other)
    }
  }
}

test.serial(
  'the second create joins the network by its name: the same pools and VNI, whatever each Docker calls it',
  withDocker(async (t, stage) => {
    const [one, two] = hostsOf(stage)
    await one.docker(`network create ${blue} --subnet 10.5.0.0/24 --aux-address printer=10.5.0.200 --ipv6 --subnet fd05::/64 blue`)
    await two.docker(`network create ${blue} --subnet 10.5.0.0/24 --aux-address printer=10.5.0.200 --ipv6 --subnet fd05::/64 azul`)
    const networks: any[] = await one.heddle.json(['network', 'ls'])
    t.deepEqual(
      networks.map(({ name, kind, pools }) => [name, kind, pools.map((pool: any) => pool.prefix)]),
      [['blue', 'overlay', ['10.5.0.0/24', 'fd05::/64']]],
    )
    t.deepEqual(
      (await two.dockerd.api('GET', '/networks/azul')).IPAM.Config.map(({ Subnet }: any) => Subnet),
      ['10.5.0.0/24', 'fd05::/64'],
    )
    t.not((await one.dockerd.api('GET', '/networks/blue')).Id, (await two.dockerd.api('GET', '/networks/azul')).Id)
    for (const [options, message] of [
      ['--subnet 10.6.0.0/24', /network blue has .*10\.5\.0\.0\/24.*not 10\.6\.0\.0\/24/],
      ['-o kind=bridge', /network blue exists and its kind is overlay/],
      ['-o vni=9999', /network blue exists and its vni is \d+/],
      ['-o mtu=1000', /network blue exists and its mtu is none/],
    ] as const) {
      t.regex(await two.refused(`network create ${blue} ${options} more`), message, options)
    }
  }),
)

test.serial(
  'containers of both hosts get addresses of one pool, none twice, and reach each other over IPv4 and IPv6',
  withDocker(async (t, stage) => {
    const [one, two] = hostsOf(stage)
    await serving(one, 'web-1', '--network blue')
    await serving(two, 'web-2', '--network azul --ip 10.5.0.77')
    await reachEachOther(t, stage)
    for (const taken of ['10.5.0.77', '10.5.0.200']) t.regex(await one.refused(`run --rm --network blue --ip ${taken} IMAGE`), new RegExp(taken))
    const vtep = JSON.parse(await two.exec('ip -json address show eth0'))[0].mtu
    t.is(vtep, 1500)
    t.true(await pings(one, 'web-1', stage.underlay.gateway), "and the outside, by Docker's own bridge")
    const endpoints: any[] = await two.heddle.json(['endpoint', 'ls'])
    t.deepEqual(endpoints.map(({ host, networkName, runtime }) => `${host} ${networkName} ${runtime}`).sort(), ['host-1 blue docker', 'host-2 blue docker'])
  }),
)

test.serial(
  'an address moves with its container from one host to the other, and is found there at once',
  withDocker(async (t, stage) => {
    const [one, two] = hostsOf(stage)
    t.true(await pings(one, 'web-1', '10.5.0.77'))
    await two.docker('rm --force web-2')
    await sleeping(one, 'moved', '--network blue --ip 10.5.0.77 --mac-address 02:00:00:00:00:77')
    t.true(await pings(one, 'web-1', '10.5.0.77'))
    await one.docker('rm --force moved')
    await serving(two, 'web-2', '--network azul --ip 10.5.0.77 --mac-address 02:00:00:00:00:77')
    await reachEachOther(t, stage)
    t.regex(await one.refused('run --rm --network blue --mac-address 02:00:00:00:00:77 IMAGE'), /MAC 02:00:00:00:00:77 is taken/)
    await reachEachOther(t, stage)
  }),
)

test.serial(
  'the network is there until the last Docker has removed it',
  withDocker(async (t, stage) => {
    const [one, two] = hostsOf(stage)
    await one.docker('rm --force web-1')
    await one.docker('network rm blue')
    t.is(await two.docker('exec web-2 wget -q -O - http://10.5.0.77/'), 'web-2')
    t.true((await remains(one)).includes('network blue'))
    await one.docker(`network create ${blue} --ipv6 blue`)
    await serving(one, 'web-1', '--network blue')
    await reachEachOther(t, stage)
    await Promise.all([one.docker('rm --force web-1'), two.docker('rm --force web-2')])
    await Promise.all([one.docker('network rm blue'), two.docker('network rm azul')])
    await allIsGone(t, one)
    await allIsGone(t, two)
  }),
)
