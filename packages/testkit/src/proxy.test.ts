import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { type FaultProxyOptions, startFaultProxy } from './proxy.ts'

/** An echo server that remembers what reached it, and a proxy in front. */
async function setUp(t: ExecutionContext, onReply?: FaultProxyOptions['onReply']) {
  const received: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received.push(chunk.toString())
      socket.write(chunk)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await startFaultProxy({ target: `127.0.0.1:${(server.address() as AddressInfo).port}`, ...(onReply && { onReply }) })
  t.teardown(async () => {
    await proxy.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const dial = async () => {
    const socket = connect(proxy.port, '127.0.0.1')
    const replies: string[] = []
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.on('error', () => {})
    socket.on('data', (chunk) => replies.push(chunk.toString()))
    await once(socket, 'connect')
    return { socket, replies, closed }
  }
  return { proxy, received, dial }
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition() && tries < 1000; tries++) await new Promise((resolve) => setTimeout(resolve, 5))
}

test('a proxy that passes passes, and a cut closes what is open but not what comes', async (t) => {
  const { proxy, dial } = await setUp(t)
  const first = await dial()
  first.socket.write('one')
  await until(() => first.replies.length > 0)
  t.deepEqual(first.replies, ['one'])
  proxy.cut()
  await first.closed
  const second = await dial()
  second.socket.write('two')
  await until(() => second.replies.length > 0)
  t.deepEqual(second.replies, ['two'])
})

test('swallowed replies: the request reaches the server, its reply nobody, and healing cuts the damaged connection', async (t) => {
  const { proxy, received, dial } = await setUp(t)
  const client = await dial()
  proxy.swallowReplies()
  client.socket.write('ask')
  await until(() => received.length > 0)
  t.deepEqual(received, ['ask'])
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.deepEqual(client.replies, [])
  proxy.pass()
  await client.closed
})

test('a black hole accepts and swallows both ways', async (t) => {
  const { proxy, received, dial } = await setUp(t)
  proxy.blackHole()
  const client = await dial()
  client.socket.write('ask')
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.deepEqual(received, [])
  t.false(client.socket.destroyed)
  proxy.pass()
  await client.closed
})

test('open connections can fall silent while new ones pass', async (t) => {
  const { proxy, received, dial } = await setUp(t)
  const old = await dial()
  old.socket.write('before')
  await until(() => old.replies.length > 0)
  proxy.silence()
  old.socket.write('after')
  const fresh = await dial()
  fresh.socket.write('new')
  await until(() => fresh.replies.length > 0)
  t.deepEqual(fresh.replies, ['new'])
  t.deepEqual(received, ['before', 'new'])
  t.deepEqual(old.replies, ['before'])
  t.false(old.socket.destroyed)
})

test('a reply can be the last one that gets through', async (t) => {
  const { dial } = await setUp(t, () => 'cut-after')
  const client = await dial()
  client.socket.write('last')
  await client.closed
  t.deepEqual(client.replies, ['last'])
})
