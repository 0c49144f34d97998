/** A whole gateway's name server, asked by Node's own resolver, and byte by byte where that would not ask so. */
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Endpoint } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import test, { type ExecutionContext } from 'ava'
import { startGateway } from '../testing/gateway.ts'
import { addBlue, addEnv, blueConfig } from '../testing/networks.ts'

async function start(t: ExecutionContext) {
  const { gateway, port } = await onFreePort()
  t.teardown(() => gateway.stop())
  const blue = addBlue(gateway.cluster)
  const add = (id: string, more: Partial<Endpoint>) =>
    gateway.cluster.endpoints.set(id, { ...nobody, id, networkId: blue.id, networkName: blue.name, state: 'wired', ...more })
  add('1', { runtime: 'docker', containerName: 'Web-1', containerId: '0123456789abcdef', addresses: ['10.1.0.2/24', 'fd00::2/64'], aliases: ['db'] })
  add('2', { runtime: 'cni', containerName: 'shop/web-2', containerId: 'c2', addresses: ['10.1.0.3/24'], aliases: ['db'] })
  add('3', { runtime: 'cni', containerName: '', containerId: 'by-ctr', addresses: ['10.1.0.4/24'] })
  add('4', { runtime: 'docker', containerName: 'not-yet', state: 'reserved', addresses: ['10.1.0.5/24'] })
  add('5', { runtime: 'docker', containerName: 'web.of.dots', addresses: ['10.1.0.6/24'] })
  const resolver = new Resolver({ timeout: 2000, tries: 1 })
  resolver.setServers([`127.0.0.1:${port}`])
  return { gateway, port, resolver, add }
}

/** A port that is free over UDP may be somebody's over TCP. */
async function onFreePort(): Promise<{ readonly gateway: Awaited<ReturnType<typeof startGateway>>; readonly port: number }> {
  for (let attempt = 1; ; attempt++) {
    const probe = createSocket('udp4')
    probe.bind(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address()
    probe.close()
    try {
      return { gateway: await startGateway({ dns: { listen: [`127.0.0.1:${port}`, `[::1]:${port}`], zone: 'lab.example' } }), port }
    } catch (error) {
      if (attempt === 10) throw error
    }
  }
}

const nobody: Endpoint = {
  ...{ id: '', networkId: '', networkName: '', networkKind: 'bridge', host: 'h1', state: '', mac: '', addresses: [], sandbox: '', interfaceName: 'eth0' },
  ...{ containerId: '', containerName: '', runtime: '', ports: [], createdAt: '', updatedAt: '', revision: 0n, vf: undefined, aliases: [] },
}

test('containers of every runtime are found by their names on a network, in both families', async (t) => {
  const { resolver } = await start(t)
  for (const [name, addresses] of [
    ['web-1.blue.lab.example', ['10.1.0.2']],
    ['WEB-1.Blue.Lab.Example', ['10.1.0.2']],
    ['0123456789ab.blue.lab.example', ['10.1.0.2']],
    ['web-2.shop.blue.lab.example', ['10.1.0.3']],
    ['web-2.blue.lab.example', ['10.1.0.3']],
    ['by-ctr.blue.lab.example', ['10.1.0.4']],
    ['web.of.dots.blue.lab.example', ['10.1.0.6']],
    ['db.blue.lab.example', ['10.1.0.2', '10.1.0.3']],
  ] as const)
    t.deepEqual(await resolver.resolve4(name), addresses, name)
  t.deepEqual(await resolver.resolve6('web-1.blue.lab.example'), ['fd00::2'])
  t.deepEqual(await resolver.resolve4('web-1.blue.lab.example', { ttl: true }), [{ address: '10.1.0.2', ttl: 5 }])
})

test('an alias that a runtime hands to the plugin is a name too', async (t) => {
  const { gateway, resolver } = await start(t)
  const { json } = await gateway.cni(addEnv, { ...blueConfig, runtimeConfig: { aliases: ['Cache', 'cache', 'redis'] } })
  const [address] = json.ips[0].address.split('/')
  for (const alias of ['cache', 'redis']) t.deepEqual(await resolver.resolve4(`${alias}.blue.lab.example`), [address])
})

test('a name that is nobody is said not to be, one without such an address to have none, and one of another zone is refused', async (t) => {
  const { resolver } = await start(t)
  for (const name of ['nobody.blue.lab.example', 'not-yet.blue.lab.example', 'web-1.red.lab.example', '*.lab.example'])
    await t.throwsAsync(resolver.resolve4(name), { code: 'ENOTFOUND' }, name)
  for (const name of ['web-2.blue.lab.example', 'blue.lab.example', 'lab.example']) await t.throwsAsync(resolver.resolve6(name), { code: 'ENODATA' }, name)
  await t.throwsAsync(resolver.resolveMx('web-1.blue.lab.example'), { code: 'ENODATA' })
  for (const name of ['example.org', 'notlab.example']) await t.throwsAsync(resolver.resolve4(name), { code: 'EREFUSED' }, name)
})

test('a failure of the brains is a failure to answer, not a name that is not there, and is not kept', async (t) => {
  const { gateway, resolver } = await start(t)
  gateway.cluster.faults.set('networks.listEndpoints', new HeddleError('unavailable', 'no replica answers'))
  await t.throwsAsync(resolver.resolve4('web-1.blue.lab.example'), { code: 'ESERVFAIL' })
  gateway.cluster.faults.clear()
  t.deepEqual(await resolver.resolve4('web-1.blue.lab.example'), ['10.1.0.2'])
})

test('what does not fit into a datagram is asked for again over TCP, in both families of the server', async (t) => {
  const { add, port, resolver } = await start(t)
  const many = Array.from({ length: 100 }, (_, index) => `10.1.1.${index}`)
  for (const [index, address] of many.entries()) add(`m${index}`, { runtime: 'cni', addresses: [`${address}/24`], aliases: ['many'] })
  resolver.setServers([`[::1]:${port}`])
  t.deepEqual((await resolver.resolve4('many.blue.lab.example')).sort(), many.toSorted())
})

test('what is no question is not answered, what is no query is not understood, and the server goes on', async (t) => {
  const { port, resolver } = await start(t)
  const question = Buffer.from('abcd01000001000000000000057765622d3104626c7565036c6162076578616d706c650000010001', 'hex')
  const notify = Buffer.from(question)
  notify.writeUInt16BE(0x2000, 2)
  const answers: Buffer[] = []
  const socket = createSocket('udp4').on('message', (message) => answers.push(message))
  const pointer = Buffer.from('abcd01000001000000000000c00c00010001', 'hex')
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.alloc(11),
    question.subarray(0, 20),
    pointer,
    Buffer.alloc(600, 0xff),
    Buffer.from('abcd81000001', 'hex'),
    notify,
  ])
    socket.send(bytes, port, '127.0.0.1')
  await once(socket, 'message')
  socket.close()
  t.deepEqual(
    answers.map((answer) => [answer.readUInt16BE(0), answer.readUInt16BE(2)]),
    [[0xabcd, 0xa004]],
  )

  // Two questions in one segment, cut in the middle of the second, and then nonsense.
  const framed = (bytes: Buffer) => Buffer.concat([Buffer.of(0, bytes.length), bytes])
  const stream = Buffer.concat([framed(question), framed(question), framed(Buffer.alloc(3))])
  const connection = connect(port, '127.0.0.1')
  const heard: Buffer[] = []
  connection.on('data', (chunk: Buffer) => heard.push(chunk))
  connection.write(stream.subarray(0, 60))
  setImmediate(() => connection.write(stream.subarray(60)))
  await once(connection, 'close')
  t.is(Buffer.concat(heard).length, 2 * (2 + question.length + 16))
  t.deepEqual(await resolver.resolve4('web-1.blue.lab.example'), ['10.1.0.2'])
})

test('a gateway that cannot listen says where and what to do, and does not start half', async (t) => {
  const { port } = await start(t)
  const refused = startGateway({ dns: { listen: [`[::1]:0`, `127.0.0.1:${port}`] } })
  const error = await t.throwsAsync<HeddleError>(refused, { instanceOf: HeddleError, message: /cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/ })
  t.is(error.field, 'gateway.dns.listen')
})
