import test from 'ava'
import { MemoryBus, MemoryHub } from './index.ts'
import { echo, failureOf, handlersOf, ipam, until, within } from './testing/index.ts'

test('requests and events pass through the codecs between buses of one hub, replicas taking turns', async (t) => {
  const hub = new MemoryHub()
  const answered: string[] = []
  for (const name of ['a', 'b']) {
    await new MemoryBus({ hub }).serve(
      ipam,
      handlersOf(ipam, {
        allocate: async (request) => {
          answered.push(name)
          return echo(request)
        },
      }),
    )
  }
  const user = new MemoryBus({ hub })
  const first = await within(1_000, (call) => user.client(ipam).allocate({ owner: 'x' }, call))
  await within(1_000, (call) => user.client(ipam).allocate({ owner: 'x' }, call))
  t.deepEqual(first, { allocations: [{ claim: undefined, gateway: 'x' }] }, 'defaults are filled in as on the wire')
  t.deepEqual(answered.sort(), ['a', 'b'])
  const { requestType } = ipam.definition.methods.allocate
  const heard: string[] = []
  const subscription = new MemoryBus({ hub }).subscribe('s', requestType, ({ owner }) => void heard.push(owner))
  user.publish('s', requestType, requestType.fromPartial({ owner: 'y' }))
  await until(() => heard.length === 1, 'the event was heard')
  subscription.close()
  user.publish('s', requestType, requestType.fromPartial({ owner: 'z' }))
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(heard, ['y'])
})

test('a lost answer: what has side effects is not sent again, what has none is asked again', async (t) => {
  const hub = new MemoryHub()
  let handled = 0
  const count = async () => {
    handled++
    return {}
  }
  await new MemoryBus({ hub }).serve(ipam, handlersOf(ipam, { allocate: count, listPools: count }))
  let losses = 1
  const user = new MemoryBus({ hub, lose: () => (losses-- > 0 ? 'reply' : undefined) })
  t.is((await failureOf(within(200, (call) => user.client(ipam).allocate({}, call)))).code, 'deadline-exceeded')
  t.is(handled, 1)
  losses = 1
  t.deepEqual(await within(600, (call) => user.client(ipam).listPools({}, call)), { pools: [], nextPageToken: '' })
  t.is(handled, 3)
})

test('a request that waited out its budget is dropped by the responder', async (t) => {
  const bus = new MemoryBus()
  const entered = Promise.withResolvers<void>()
  const release = Promise.withResolvers<void>()
  const handled: string[] = []
  await bus.serve(
    ipam,
    handlersOf(ipam, {
      allocate: async ({ owner }) => {
        handled.push(owner)
        entered.resolve()
        await release.promise
        return {}
      },
    }),
    { concurrency: 1 },
  )
  const client = bus.client(ipam)
  const long = within(10_000, (call) => client.allocate({ owner: 'long' }, call))
  await entered.promise
  t.is((await failureOf(within(50, (call) => client.allocate({ owner: 'short' }, call)))).code, 'deadline-exceeded')
  // Budgets travel in whole milliseconds, rounded up.
  await new Promise((resolve) => setTimeout(resolve, 20))
  release.resolve()
  await long
  await within(10_000, (call) => client.allocate({ owner: 'next' }, call))
  t.deepEqual(handled, ['long', 'next'])
})

test('what is too much is refused, what waits is answered in order', async (t) => {
  const bus = new MemoryBus()
  const release = Promise.withResolvers<void>()
  const handled: string[] = []
  await bus.serve(
    ipam,
    handlersOf(ipam, {
      allocate: async ({ owner }) => {
        await release.promise
        handled.push(owner)
        return {}
      },
    }),
    { concurrency: 1 },
  )
  const client = bus.client(ipam)
  const accepted = ['0', '1', '2', '3', '4'].map((owner) => within(10_000, (call) => client.allocate({ owner }, call)))
  const refused = await failureOf(within(10_000, (call) => client.allocate({ owner: 'too many' }, call)))
  t.is(refused.code, 'overloaded')
  t.true(refused.retryable)
  release.resolve()
  await Promise.all(accepted)
  t.deepEqual(handled, ['0', '1', '2', '3', '4'])
})

test('a handler deaf to its signal holds neither its place nor the stopping of its service beyond its deadline', async (t) => {
  const bus = new MemoryBus()
  await bus.serve(ipam, handlersOf(ipam, { allocate: () => new Promise<never>(() => {}), release: async () => ({}) }), { concurrency: 1 })
  t.is((await failureOf(within(50, (call) => bus.client(ipam).allocate({}, call)))).code, 'deadline-exceeded')
  await within(5_000, (call) => bus.client(ipam).release({}, call))
  await bus.close()
  t.is(bus.status, 'closed')
})

test('a connection lost in mid-request fails what has side effects; listeners hear of the reconnection', async (t) => {
  const hub = new MemoryHub()
  const entered = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<object>()
  let asked = 0
  await new MemoryBus({ hub }).serve(
    ipam,
    handlersOf(ipam, {
      allocate: () => {
        entered.resolve()
        return ended.promise
      },
      listPools: async () => (++asked === 1 ? ended.promise : {}),
    }),
  )
  const user = new MemoryBus({ hub })
  let told = 0
  const subscription = user.onReconnect(() => void told++)
  const interrupted = failureOf(within(60_000, (call) => user.client(ipam).allocate({}, call)))
  const repeated = within(60_000, (call) => user.client(ipam).listPools({}, call))
  await entered.promise
  user.disconnect()
  t.is((await interrupted).code, 'unavailable')
  user.connect()
  t.deepEqual(await repeated, { pools: [], nextPageToken: '' })
  t.is(told, 1)
  subscription.close()
  user.disconnect()
  user.connect()
  t.is(told, 1)
  ended.resolve({})
})
