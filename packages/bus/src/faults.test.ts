import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { HeddleError } from '@heddle/core'
import test from 'ava'
import { connectBus } from './index.ts'
import { echo, failureOf, handlersOf, ipam, onNats, recordingLogger, until, wiring, within } from './testing/index.ts'

test('a handler that throws, at once or later, fails its request only: the reader goes on', async (t) => {
  const { bus } = await onNats(t)
  const server = await bus()
  await server.serve(
    ipam,
    handlersOf(ipam, {
      allocate: () => {
        throw new Error('thrown at once')
      },
      release: async () => {
        await Promise.resolve()
        throw new Error('thrown later')
      },
      listPools: async () => ({ pools: [] }),
    }),
  )
  const client = (await bus()).client(ipam)
  const atOnce = await failureOf(within(5_000, (call) => client.allocate({}, call)))
  const later = await failureOf(within(5_000, (call) => client.release({}, call)))
  t.is(atOnce.code, 'internal')
  t.is(atOnce.message, 'thrown at once')
  t.is(later.message, 'thrown later')
  t.deepEqual(await within(5_000, (call) => client.listPools({}, call)), { pools: [], nextPageToken: '' })
  await within(5_000, (call) => server.flush(call))
})

test('a listener that throws or rejects keeps its subscription', async (t) => {
  const { bus } = await onNats(t)
  const logger = recordingLogger()
  const listener = await bus({ logger })
  const heard: string[] = []
  listener.subscribe('heddle.v1.event.test', ipam.definition.methods.allocate.requestType, (message) => {
    heard.push(message.owner)
    if (message.owner === 'a') throw new Error('no')
    if (message.owner === 'b') return Promise.reject(new Error('no')) as unknown as undefined
    return undefined
  })
  await within(5_000, (call) => listener.flush(call))
  const { requestType } = ipam.definition.methods.allocate
  const speaker = await bus()
  for (const owner of ['a', 'b', 'c']) speaker.publish('heddle.v1.event.test', requestType, requestType.fromPartial({ owner }))
  await until(() => heard.length === 3, 'three events were heard')
  t.deepEqual(heard, ['a', 'b', 'c'])
  t.is(logger.lines.filter((line) => line.includes('listener')).length, 2)
})

test('a malformed event or request harms nobody', async (t) => {
  const { nats, bus } = await onNats(t)
  const logger = recordingLogger()
  const server = await bus({ logger })
  await server.serve(ipam, handlersOf(ipam, { allocate: echo }))
  const heard: string[] = []
  server.subscribe('heddle.v1.event.test', ipam.definition.methods.allocate.requestType, (message) => void heard.push(message.owner))
  await within(5_000, (call) => server.flush(call))
  const { connect } = await import('nats')
  const stranger = await connect({ servers: nats.url })
  t.teardown(() => stranger.close())
  const garbage = Buffer.from([0xff, 0xff, 0xff, 0xff])
  stranger.publish('heddle.v1.event.test', garbage)
  const reply = await stranger.request('heddle.v1.Ipam.Allocate', garbage, { timeout: 5_000 })
  t.is(reply.headers?.get('heddle-error'), 'invalid-argument')
  const { requestType } = ipam.definition.methods.allocate
  server.publish('heddle.v1.event.test', requestType, requestType.fromPartial({ owner: 'after' }))
  await until(() => heard.length === 1, 'the good event was heard')
  t.deepEqual(heard, ['after'])
})

test('stopping waits for the handler under way, and its answer arrives', async (t) => {
  const { bus } = await onNats(t)
  const server = await bus()
  const entered = Promise.withResolvers<void>()
  const release = Promise.withResolvers<void>()
  await server.serve(
    ipam,
    handlersOf(ipam, {
      allocate: async (request) => {
        entered.resolve()
        await release.promise
        return echo(request)
      },
    }),
  )
  const client = (await bus()).client(ipam)
  const answer = within(10_000, (call) => client.allocate({ owner: 'slow' }, call))
  await entered.promise
  let closed = false
  const closing = server.close().then(() => {
    closed = true
  })
  // A request that overtakes the end of the subscription is still taken.
  const refused = () => failureOf(within(200, (call) => client.allocate({ owner: 'too late' }, call)))
  while ((await refused()).code !== 'unavailable');
  t.false(closed)
  release.resolve()
  t.is((await answer).allocations[0]?.gateway, 'slow')
  await closing
  t.is(server.status, 'closed')
})

test('a request nobody answers waits within its budget for somebody, then is unavailable', async (t) => {
  const { bus } = await onNats(t)
  const client = (await bus()).client(ipam)
  const alone = await failureOf(within(300, (call) => client.allocate({}, call)))
  t.is(alone.code, 'unavailable')
  t.true(alone.retryable)
  t.not(alone.remedy, undefined)
  const waiting = within(10_000, (call) => client.allocate({ owner: 'early' }, call))
  await new Promise((resolve) => setTimeout(resolve, 100))
  await (await bus()).serve(ipam, handlersOf(ipam, { allocate: echo }))
  t.is((await waiting).allocations[0]?.gateway, 'early')
})

test('NATS killed in mid-request: a retryable failure before the deadline; afterwards everything works again', async (t) => {
  const { nats, bus } = await onNats(t)
  const server = await bus()
  const entered = Promise.withResolvers<void>()
  let done = false
  let calls = 0
  await server.serve(
    ipam,
    handlersOf(ipam, {
      allocate: async (request) => {
        calls++
        if (request.owner !== 'stuck') return echo(request)
        entered.resolve()
        await until(() => done, 'the test ended', 60_000)
        return {}
      },
      listPools: async () => ({ pools: [{ claimed: 7n }] }),
    }),
  )
  const user = await bus()
  const client = user.client(ipam)
  let reconnections = 0
  user.onReconnect(() => {
    throw new Error('a listener that throws')
  })
  user.onReconnect(() => void reconnections++)
  const heard: string[] = []
  const { requestType } = ipam.definition.methods.allocate
  user.subscribe('heddle.v1.event.test', requestType, (message) => void heard.push(message.owner))

  const deadlineMs = 60_000
  const startMs = performance.now()
  const interrupted = failureOf(within(deadlineMs, (call) => client.allocate({ owner: 'stuck' }, call)))
  await entered.promise
  await nats.kill()
  const failure = await interrupted
  t.is(failure.code, 'unavailable')
  t.true(failure.retryable)
  t.true(performance.now() - startMs < deadlineMs)
  t.is(calls, 1, 'what may have arrived is not sent again')

  const away = await failureOf(within(200, (call) => client.allocate({ owner: 'away' }, call)))
  t.is(away.code, 'unavailable')
  const patient = within(30_000, (call) => client.listPools({}, call))
  await nats.restart()
  t.is((await patient).pools[0]?.claimed, 7n)
  t.is((await within(30_000, (call) => client.allocate({ owner: 'after' }, call))).allocations[0]?.gateway, 'after')
  await until(() => reconnections === 1, 'the reconnection was told')
  t.is(calls, 2, 'what was asked while NATS was away was not delivered late')
  await within(5_000, (call) => user.flush(call))
  server.publish('heddle.v1.event.test', requestType, requestType.fromPartial({ owner: 'x' }))
  await until(() => heard.length === 1, 'the subscription survived')
  done = true
})

test('a responder killed in mid-request: a method without side effects is asked again elsewhere', async (t) => {
  const { nats, bus } = await onNats(t)
  const mute = await connectBus({ servers: [nats.url], name: 'mute', logger: recordingLogger() })
  const asked = Promise.withResolvers<void>()
  await mute.serve(
    ipam,
    handlersOf(ipam, {
      listPools: () => {
        asked.resolve()
        return new Promise<never>(() => {})
      },
    }),
  )
  const client = (await bus()).client(ipam)
  const answer = within(3_000, (call) => client.listPools({}, call))
  await asked.promise
  await (await bus()).serve(ipam, handlersOf(ipam, { listPools: async () => ({ pools: [{ claimed: 1n }] }) }))
  // Both are members of the queue now; of two more attempts one may still reach the mute one, so it leaves.
  void mute.close()
  t.is((await answer).pools[0]?.claimed, 1n)
})

test('a replica that is cut off from its store costs a call some time and no success; when all are, their word is what the caller gets', async (t) => {
  const { bus } = await onNats(t)
  const cutOff = async (): Promise<never> => {
    throw new HeddleError('unavailable', 'etcd has not answered')
  }
  await (await bus()).serve(ipam, handlersOf(ipam, { allocate: cutOff, listPools: cutOff }))
  const other = await (await bus()).serve(ipam, handlersOf(ipam, { allocate: echo, listPools: async () => ({ pools: [{ claimed: 1n }] }) }))
  const client = (await bus()).client(ipam)
  for (let index = 0; index < 20; index++) {
    t.is((await within(20_000, (call) => client.allocate({ owner: 'x' }, call))).allocations[0]?.gateway, 'x')
    t.is((await within(20_000, (call) => client.listPools({}, call))).pools[0]?.claimed, 1n)
  }
  await other.stop()
  for (const failing of [within(300, (call) => client.allocate({}, call)), within(300, (call) => client.listPools({}, call))]) {
    t.like(await failureOf(failing), { code: 'unavailable', message: 'etcd has not answered' })
  }
  const aborted = AbortSignal.timeout(50)
  t.is((await failureOf(within(600_000, (call) => client.allocate({}, call), { signal: aborted }))).code, 'cancelled')
})

test('what the one responder of a host answers is final', async (t) => {
  const { bus } = await onNats(t)
  let asked = 0
  await (await bus()).serve(
    wiring,
    handlersOf(wiring, {
      attach: async () => {
        asked++
        throw new HeddleError('unavailable', 'no underlay yet')
      },
    }),
    { host: 'h1' },
  )
  t.is((await failureOf(within(20_000, async (call) => (await bus()).client(wiring, 'h1').attach({}, call)))).message, 'no underlay yet')
  t.is(asked, 1)
})

test('a call that is cancelled ends at once, whatever the other side does', async (t) => {
  const { bus } = await onNats(t)
  let done = false
  const server = await bus()
  const entered = Promise.withResolvers<void>()
  await server.serve(
    ipam,
    handlersOf(ipam, {
      allocate: async () => {
        entered.resolve()
        await until(() => done, 'the test ended')
        return {}
      },
    }),
  )
  const client = (await bus()).client(ipam)
  const caller = new AbortController()
  const outcome = failureOf(within(600_000, (call) => client.allocate({}, call), { signal: caller.signal }))
  await entered.promise
  caller.abort()
  t.is((await outcome).code, 'cancelled')
  done = true
})

test('a bus waits for a server that is not there yet', async (t) => {
  const { nats, bus } = await onNats(t)
  await nats.kill()
  const waiting = bus()
  await t.throwsAsync(connectBus({ servers: [nats.url], name: 'impatient', logger: recordingLogger(), signal: AbortSignal.timeout(100) }), {
    message: /gave up/,
  })
  await nats.restart()
  t.is((await waiting).status, 'connected')
})

test('a bus that gave up waiting makes no further attempt, so that its process can end', async (t) => {
  let attempts = 0
  const doorkeeper = createServer((socket) => {
    attempts++
    socket.destroy()
  }).listen(0, '127.0.0.1')
  await once(doorkeeper, 'listening')
  t.teardown(() => doorkeeper.close())
  const abort = new AbortController()
  const { port } = doorkeeper.address() as AddressInfo
  const waiting = connectBus({ servers: [`nats://127.0.0.1:${port}`], name: 'impatient', logger: recordingLogger(), signal: abort.signal })
  await until(() => attempts >= 2, 'it tried twice')
  abort.abort()
  await t.throwsAsync(waiting, { message: /gave up/ })
  const before = attempts
  // Two of the longest waits between attempts; one attempt may have been under way.
  await new Promise((resolve) => setTimeout(resolve, 1_200))
  t.true(attempts <= before + 1, `${attempts - before} more attempts`)
})

test('a bus goes on reconnecting beyond the ten attempts after which the library would give up', async (t) => {
  const { nats, bus } = await onNats(t)
  const user = await bus()
  await nats.kill()
  let attempts = 0
  const doorkeeper = createServer((socket) => {
    attempts++
    socket.destroy()
  }).listen(nats.port, '127.0.0.1')
  await once(doorkeeper, 'listening')
  await until(() => attempts > 12, 'it tried more than twelve times', 60_000)
  doorkeeper.close()
  await once(doorkeeper, 'close')
  await nats.restart()
  await until(() => user.status === 'connected', 'it is connected again')
  await within(10_000, (call) => user.flush(call))
  t.is(user.status, 'connected')
})
