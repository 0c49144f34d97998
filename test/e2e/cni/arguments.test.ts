// What a runtime hands over beside the configuration: capabilities, args and CNI_ARGS, down to the kernel.
import anyTest, { type TestFn } from 'ava'
import { type CniStage, setCniStage } from './stage.ts'

const test = anyTest as TestFn<CniStage>

test.before(async (t) => {
  t.context = await setCniStage()
  await t.context.heddle.cli(['network', 'create', 'blue', '--kind', 'bridge', '--subnet', '10.77.0.0/24', '--subnet', 'fd77::/64'])
})
test.after.always((t) => t.context?.close?.())

const blue = (more: object = {}) => ({ cniVersion: '1.1.0', name: 'blue', plugins: [{ type: 'heddle', ...more }] })

test.serial('addresses and MAC: runtimeConfig before args.cni before CNI_ARGS before the configuration, dual stack', async (t) => {
  const { chain, attachment, sandbox, json, world } = t.context
  const before = await world()
  const capabilities = { ips: true, mac: true }
  const own = { ips: ['10.77.0.10'], mac: '02:00:00:00:00:10', capabilities }
  const args = { cni: { ips: ['10.77.0.30', 'fd77::30'], mac: '02:00:00:00:00:30' } }
  const CNI_ARGS = 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;IP=10.77.0.20/24;MAC=02:00:00:00:00:20'
  const given = { ips: ['10.77.0.40/24', 'fd77::40/64'], mac: '02:00:00:00:00:40' }
  const cases = [
    ['10.77.0.10', blue(own), {}],
    ['10.77.0.20', blue(own), { args: CNI_ARGS }],
    ['10.77.0.30', blue({ ...own, args }), { args: CNI_ARGS }],
    ['10.77.0.40', blue({ ...own, args }), { args: CNI_ARGS, capabilities: given }],
    // Not declared, so not handed over.
    ['10.77.0.10', blue({ ...own, capabilities: {} }), { capabilities: given }],
  ] as const
  for (const [address, list, more] of cases) {
    const runtime = chain(list)
    const at = attachment(await sandbox(), more)
    const { ips } = await runtime.add(at)
    t.is(ips[0].address, `${address}/24`)
    const [link] = await json(at.netns ?? '', ['ip', '-json', 'address', 'show', 'eth0'])
    const has = link.addr_info.map(({ local, prefixlen }: { local: string; prefixlen: number }) => `${local}/${prefixlen}`)
    for (const ip of ips) t.true(has.includes(ip.address), `${ip.address} of ${has}`)
    t.is(link.address, `02:00:00:00:00:${address.slice(-2)}`)
    t.is(ips.length, 2, 'one of each family')
    await runtime.check(at)
    await runtime.del(at)
  }
  t.is(await world(), before)
})

test.serial('the pod is known by its name, and a port of the host leads to it', async (t) => {
  const { chain, attachment, sandbox, serve, ask, hostNetns, heddle, json } = t.context
  const runtime = chain(blue({ capabilities: { portMappings: true } }))
  const portMappings = [{ hostPort: 8081, containerPort: 80, protocol: 'tcp' }]
  const at = attachment(await sandbox(), { args: 'K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0', capabilities: { portMappings } })
  await runtime.add(at)
  const [endpoint] = await heddle.json(['endpoint', 'ls'])
  t.is(endpoint.containerName, 'shop/web-0')
  await serve(at.netns ?? '', 80, 'web-0')
  const [link] = await json(hostNetns, ['ip', '-json', '-4', 'address', 'show', 'eth0'])
  t.is(await ask(hostNetns, link.addr_info[0].local, 8081), 'web-0')
  await runtime.check(at)
  await runtime.del(at)
  t.not(await ask(hostNetns, link.addr_info[0].local, 8081), 'web-0')
})

test.serial('routes with their MTU, MSS, priority and table, said again in the result as far as its version can, and checked', async (t) => {
  const { chain, attachment, sandbox, json, inside } = t.context
  const routes = [
    { dst: '10.50.0.0/16', gw: '10.77.0.9', mtu: 1400, advmss: 1360, priority: 77 },
    { dst: '10.51.0.0/16', table: 100, scope: 253 },
  ]
  for (const cniVersion of ['1.1.0', '1.0.0']) {
    const runtime = chain({ ...blue({ routes }), cniVersion })
    const at = attachment(await sandbox())
    const netns = at.netns ?? ''
    const result = await runtime.add(at)
    const said = result.routes.find(({ dst }: { dst: string }) => dst === '10.50.0.0/16')
    t.deepEqual(said, cniVersion === '1.1.0' ? routes[0] : { dst: '10.50.0.0/16', gw: '10.77.0.9' })
    const [main] = await json(netns, ['ip', '-json', 'route', 'show', '10.50.0.0/16'])
    t.like(main, { gateway: '10.77.0.9', metric: 77, metrics: [{ mtu: 1400, advmss: 1360 }] })
    const [other] = await json(netns, ['ip', '-json', 'route', 'show', 'table', '100'])
    t.like(other, { dst: '10.51.0.0/16', dev: 'eth0' })
    await runtime.check(at)
    await inside(netns, ['ip', 'route', 'flush', 'table', '100'])
    await t.throwsAsync(runtime.check(at), { message: /route 10\.51\.0\.0\/16.*of table 100 is not on eth0/ })
    await runtime.del(at)
  }
})

test.serial('servers of names are passed on, ipRanges choose the subnet, and bandwidth is left to its plugin', async (t) => {
  const { chain, attachment, sandbox } = t.context
  const capabilities = { dns: true, ipRanges: true, bandwidth: true }
  const runtime = chain(blue({ capabilities }))
  const dns = { servers: ['10.77.0.53'], searches: ['shop.svc'], options: ['ndots:2'] }
  const at = attachment(await sandbox(), { capabilities: { dns, ipRanges: [[{ subnet: 'fd77::/64' }]] } })
  const result = await runtime.add(at)
  t.deepEqual(result.dns, { nameservers: ['10.77.0.53'], search: ['shop.svc'], options: ['ndots:2'] })
  t.regex(result.ips.map(({ address }: { address: string }) => address).join(), /^fd77::\w+\/64$/)
  await runtime.check(at)
  await runtime.del(at)
  const limited = attachment(await sandbox(), { capabilities: { bandwidth: { ingressRate: 1_000_000, ingressBurst: 1_000_000 } } })
  await t.throwsAsync(runtime.add(limited), { message: /add the bandwidth plugin to the chain/ })
})

test.serial('a network that the list defines is made by its first ADD and used by the next', async (t) => {
  const { chain, attachment, sandbox, inside, heddle } = t.context
  const heddleOptions = { kind: 'bridge', subnets: [{ prefix: '10.79.0.0/24', gateway: '10.79.0.254' }] }
  const runtime = chain({ cniVersion: '1.1.0', name: 'defined', plugins: [{ type: 'heddle', heddle: heddleOptions }] })
  await runtime.status()
  const both = [attachment(await sandbox()), attachment(await sandbox())]
  for (const at of both) await runtime.add(at)
  await inside(both[0]?.netns ?? '', ['busybox', 'ping', '-c1', '-W2', '10.79.0.254'])
  await inside(both[0]?.netns ?? '', ['busybox', 'ping', '-c1', '-W2', '10.79.0.2'])
  for (const at of both) await runtime.del(at)
  await heddle.cli(['network', 'rm', 'defined'])
  const unknown = chain({ cniVersion: '1.1.0', name: 'unknown', plugins: [{ type: 'heddle' }] })
  await t.throwsAsync(unknown.add(attachment(await sandbox())), { message: /heddle network create unknown/ })
})
