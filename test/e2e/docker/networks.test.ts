// `docker network create` with what it can be told, `inspect`, `ls` and `rm`, with a real dockerd.
import test from 'ava'
import { addressesOf, allIsGone, gatewaysOf, inside, linksOf, ours, pings, remains, serving, sleeping, stageBefore } from './stage.ts'

const withDocker = stageBefore({ hosts: 1 })

test.serial(
  'create --subnet --ip-range --gateway --aux-address: `network inspect` says them, and addresses follow them',
  withDocker(async (t, { host }) => {
    const v4 = '--subnet 10.5.0.0/16 --ip-range 10.5.4.0/30 --gateway 10.5.200.1 --aux-address printer=10.5.4.1 --aux-address far=10.5.9.9'
    await host.docker(`network create ${ours} ${v4} --ipv6 --subnet fd05::/64 --gateway fd05::ff -o kind=bridge --label colour=red --attachable red`)
    const red = await host.dockerd.api('GET', '/networks/red')
    t.like(red, { Driver: 'heddle', Scope: 'local', EnableIPv6: true, Internal: false, Labels: { colour: 'red' } })
    t.deepEqual(red.IPAM.Config, [
      { Subnet: '10.5.0.0/16', IPRange: '10.5.4.0/30', Gateway: '10.5.200.1', AuxiliaryAddresses: { printer: '10.5.4.1', far: '10.5.9.9' } },
      { Subnet: 'fd05::/64', Gateway: 'fd05::ff' },
    ])
    for (const name of ['first', 'second', 'third']) await sleeping(host, name, '--network red')
    const given = [...(await addressesOf(host, 'first')), ...(await addressesOf(host, 'second')), ...(await addressesOf(host, 'third'))]
    t.deepEqual(given.filter((one) => !one.includes(':')).sort(), ['10.5.4.0/16', '10.5.4.2/16', '10.5.4.3/16'], 'of the range, but what is set aside')
    t.deepEqual(await gatewaysOf(host, 'first'), ['10.5.200.1', 'fd05::ff'])
    t.regex(await host.refused('run --rm --network red IMAGE'), /no address is free/)
    t.regex(await host.refused('run --rm --network red --ip 10.5.9.9 IMAGE'), /10\.5\.9\.9/)
    t.regex(await host.docker('run --rm --network red --ip 10.5.77.77 IMAGE ip address show eth0'), /10\.5\.77\.77\/16/, 'asked for outside of the range')
    await host.docker('rm --force first second third')
    await host.docker('network rm red')
    await allIsGone(t, host)
  }),
)

test.serial(
  'two subnets of one family: the second is gone on with when the first is full',
  withDocker(async (t, { host }) => {
    await host.docker(`network create ${ours} --subnet 10.6.0.0/29 --subnet 10.7.0.0/30 -o kind=bridge both`)
    const names = Array.from({ length: 6 }, (_, index) => `c${index}`)
    for (const name of names) await host.docker(`create --name ${name} --network both IMAGE sleep 1000`)
    await host.docker(['start', ...names])
    const given = (await Promise.all(names.map((name) => addressesOf(host, name)))).flat()
    t.is(new Set(given).size, 6)
    t.is(given.filter((one) => one.startsWith('10.6.0.')).length, 5)
    t.is(given.filter((one) => one.startsWith('10.7.0.')).length, 1)
    t.regex(await host.refused('run --rm --network both IMAGE'), /no address is free/)
    for (const name of names)
      t.deepEqual(await gatewaysOf(host, name), [(await addressesOf(host, name))[0]?.startsWith('10.6') ? '10.6.0.1' : '10.7.0.1'], name)
    await host.docker(['rm', '--force', ...names.slice(0, 3)])
    for (const name of names.slice(0, 3)) await sleeping(host, name, '--network both')
    await host.docker(['rm', '--force', ...names])
    await host.docker('network rm both')
    await allIsGone(t, host)
  }),
)

test.serial(
  'without --subnet each network gets one of its own, of both families with --ipv6; one that is there is refused and leaves nothing',
  withDocker(async (t, { host }) => {
    await Promise.all(Array.from({ length: 8 }, (_, index) => host.docker(`network create ${ours} --ipv6 own${index}`)))
    const networks: any[] = await Promise.all(Array.from({ length: 8 }, (_, index) => host.dockerd.api('GET', `/networks/own${index}`)))
    const subnets: string[] = networks.flatMap(({ IPAM }) => IPAM.Config.map(({ Subnet }: any) => Subnet))
    t.is(new Set(subnets).size, 16)
    t.is(subnets.filter((subnet) => /^fd.*\/64$/.test(subnet)).length, 8)
    const before = await remains(host)
    t.regex(await host.refused(`network create ${ours} --subnet ${subnets[0]} same`), /another Docker network of this host; choose another --subnet/)
    t.regex(await host.refused(`network create ${ours} own0`), /already exists/)
    t.deepEqual(await remains(host), before)
    await host.docker(`network rm ${Array.from({ length: 8 }, (_, index) => `own${index}`).join(' ')}`)
    await allIsGone(t, host)
  }),
)

test.serial(
  '--internal: containers reach one another, and nothing else',
  withDocker(async (t, { host, underlay }) => {
    for (const kind of ['bridge', 'overlay']) {
      await host.docker(`network create ${ours} --internal --subnet 10.8.0.0/24 -o kind=${kind} inner`)
      await sleeping(host, 'one', '--network inner --ip 10.8.0.11')
      await sleeping(host, 'two', '--network inner --ip 10.8.0.12')
      t.deepEqual(Object.keys(await linksOf(host, 'one')), ['eth0'], `${kind}: Docker adds no way out`)
      t.deepEqual(await gatewaysOf(host, 'one'), [])
      t.true(await pings(host, 'one', '10.8.0.12'), kind)
      t.false(await pings(host, 'one', underlay.gateway), kind)
      await host.docker('rm --force one two')
      await host.docker('network rm inner')
    }
    await allIsGone(t, host)
  }),
)

test.serial(
  '-o and --ipam-opt: what they say is what the network is, and what they cannot say is refused with what they can',
  withDocker(async (t, { host }) => {
    const named = '--ipam-opt network=blue -o network=blue'
    await host.docker(`network create ${ours} ${named} --subnet 10.9.0.0/24 -o com.docker.network.driver.mtu=1300 -o vni=5005 blue`)
    t.like(await host.dockerd.api('GET', '/networks/blue'), { Options: { network: 'blue', vni: '5005' }, IPAM: { Options: { network: 'blue' } } })
    t.like((await host.heddle.json(['network', 'ls']))[0], { name: 'blue', kind: 'overlay', vni: 5005, mtu: 1300, createdBy: 'docker' })
    t.regex(await host.docker('run --rm --network blue IMAGE ip link show eth0'), /mtu 1300/)
    const before = await remains(host)
    for (const [options, message] of [
      [`${ours} -o colour=red`, /option -o "colour" is not known; the options are: .*kind.*mtu/],
      [`${ours} --ipam-opt colour=red`, /option --ipam-opt "colour" is not known; the options are: network/],
      [`${ours} -o mtu=many`, /mtu.* is not a number; write -o mtu=NUMBER/],
      [`${ours} -o kind`, /driver option kind has no value/],
      [`${ours} -o kind=ring`, /kind/],
      [`${ours} -o network=green`, /both -o network=NAME and --ipam-opt network=NAME/],
      [`${ours} ${named} -o kind=bridge`, /network blue exists and its kind is overlay/],
      [`${ours} ${named} --subnet 10.10.0.0/24`, /network blue has 10\.9\.0\.0\/24, not 10\.10\.0\.0\/24/],
    ] as const) {
      t.regex(await host.refused(`network create ${options} green`), message, options)
    }
    t.deepEqual(await remains(host), before)
    await host.docker('network rm blue')
    await allIsGone(t, host)
  }),
)

test.serial(
  "with Docker's own IPAM, or with none: the addresses are Docker's, or the network's that is joined",
  withDocker(async (t, { host }) => {
    await host.docker('network create --driver heddle --subnet 10.11.0.0/24 theirs')
    await serving(host, 'docker', '--network theirs')
    t.is((await addressesOf(host, 'docker'))[0], '10.11.0.2/24')
    await host.docker('restart --time 0 docker')
    t.is((await addressesOf(host, 'docker'))[0], '10.11.0.2/24')
    await host.heddle.cli(['network', 'create', 'blue', '--subnet', '10.12.0.0/24', '--subnet', 'fd12::/64'])
    await host.docker('network create --driver heddle --ipam-driver null -o network=blue blue')
    t.regex(await host.docker('run --rm --network blue IMAGE ip address show eth0'), /10\.12\.0\.\d+\/24[\s\S]*fd12::/)
    await host.docker('rm --force docker')
    await host.docker('network rm theirs blue')
    t.true((await remains(host)).includes('network blue'), 'what Docker only joined stays')
    await host.heddle.cli(['network', 'rm', 'blue'])
    await allIsGone(t, host)
  }),
)

test.serial(
  '--ipam-driver null: a network of frames alone, on which containers have whatever addresses they give themselves',
  withDocker(async (t, { host }) => {
    for (const kind of ['bridge', 'overlay']) {
      await host.docker(`network create --driver heddle --ipam-driver null -o kind=${kind} --internal frames`)
      for (const name of ['one', 'two']) {
        await sleeping(host, name, '--network frames')
        t.deepEqual(await addressesOf(host, name), [], kind)
        await inside(host, name, `ip address add 10.13.0.${name === 'one' ? 11 : 12}/24 dev eth0`)
      }
      t.true(await pings(host, 'one', '10.13.0.12'), kind)
      await host.docker('restart --time 0 one')
      t.deepEqual(await addressesOf(host, 'one'), [], kind)
      await host.docker('rm --force one two')
      await host.docker('network rm frames')
      await allIsGone(t, host)
    }
  }),
)
