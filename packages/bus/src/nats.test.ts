import { startNats } from '@heddle/testkit'
import test from 'ava'
import { connect, headers, ServiceVerb } from 'nats'
import { connectBus, redactServer } from './index.ts'
import { echo, failureOf, handlersOf, ipam, onNats, recordingLogger, until, wiring, within } from './testing/index.ts'

test('a request reaches one replica of a cluster service, and the responder of the host that was named', async (t) => {
  const { bus } = await onNats(t)
  const counts = [0, 0]
  for (const index of [0, 1]) {
    const replica = await bus()
    await replica.serve(
      ipam,
      handlersOf(ipam, {
        allocate: async (request) => {
          counts[index] = (counts[index] ?? 0) + 1
          return echo(request)
        },
      }),
    )
  }
  for (const host of ['h1', 'h2']) await (await bus()).serve(wiring, handlersOf(wiring, { prepare: async () => ({ existed: host === 'h2' }) }), { host })
  const user = await bus()
  for (let index = 0; index < 60; index++) await within(5_000, (call) => user.client(ipam).allocate({}, call))
  t.is((counts[0] ?? 0) + (counts[1] ?? 0), 60)
  t.true(counts.every((count) => count > 0))
  t.false((await within(5_000, (call) => user.client(wiring, 'h1').prepare({}, call))).existed)
  t.true((await within(5_000, (call) => user.client(wiring, 'h2').prepare({}, call))).existed)
  for (const host of ['h1.>', '*', '', undefined]) t.throws(() => user.client(wiring, host), { message: /host name/ })
  await t.throwsAsync(user.serve(wiring, handlersOf(wiring, {})), { message: /host name/ })
})

test('the idempotency key and the budget travel; a key cannot smuggle in a header', async (t) => {
  const { bus } = await onNats(t)
  const server = await bus()
  const seen: { key: string; budgetMs: number; state: string }[] = []
  await server.serve(
    ipam,
    handlersOf(ipam, {
      allocate: async (_request, call) => {
        seen.push({ key: call.key, budgetMs: call.deadlineMs - call.clock.monotonicMs(), state: '' })
        return {}
      },
    }),
  )
  const client = (await bus()).client(ipam)
  await within(5_000, (call) => client.allocate({}, call), { key: 'endpoint-1' })
  await within(5_000, (call) => client.allocate({}, call), { key: 'x\r\nheddle-budget-ms: 1\r\n' })
  t.is(seen[0]?.key, 'endpoint-1')
  t.is(seen[1]?.key, 'x heddle-budget-ms: 1')
  for (const { budgetMs } of seen) t.true(budgetMs > 1_000 && budgetMs <= 5_000)
})

test('a typed failure arrives as it was thrown', async (t) => {
  const { bus } = await onNats(t)
  const { HeddleError } = await import('@heddle/core')
  await (await bus()).serve(
    ipam,
    handlersOf(ipam, {
      allocate: async () => {
        throw new HeddleError('pool-exhausted', 'no address is left', {
          field: 'wants',
          remedy: 'add a range',
          details: { pool: 'p1' },
          cause: new Error('secret'),
        })
      },
    }),
  )
  const client = (await bus()).client(ipam)
  const failure = await failureOf(within(5_000, (call) => client.allocate({}, call)))
  t.like(failure, { code: 'pool-exhausted', message: 'no address is left', field: 'wants', remedy: 'add a range', details: { pool: 'p1' }, cause: undefined })
})

test('a message larger than the server takes is refused before it is sent, and the connection lives', async (t) => {
  const { bus } = await onNats(t)
  const server = await bus()
  await server.serve(
    ipam,
    handlersOf(ipam, { allocate: async (request) => ({ allocations: [{ gateway: 'x'.repeat(request.owner === 'big' ? 2 ** 21 : 1) }] }) }),
  )
  const user = await bus()
  const client = user.client(ipam)
  const request = await failureOf(within(5_000, (call) => client.allocate({ owner: 'x'.repeat(2 ** 21) }, call)))
  const response = await failureOf(within(5_000, (call) => client.allocate({ owner: 'big' }, call)))
  t.regex(request.message, /request .* bytes/)
  t.regex(response.message, /answer .* bytes/)
  t.false(request.retryable || response.retryable)
  const { requestType } = ipam.definition.methods.allocate
  t.notThrows(() => user.publish('heddle.v1.event.test', requestType, requestType.fromPartial({ owner: 'x'.repeat(2 ** 21) })))
  t.is((await within(5_000, (call) => client.allocate({}, call))).allocations[0]?.gateway, 'x')
})

test('an answer that fits alone but not with its headers is refused with a word, not lost', async (t) => {
  const { bus } = await onNats(t)
  const server = await bus()
  const almost = 2 ** 20 - 30
  await server.serve(ipam, handlersOf(ipam, { allocate: async ({ owner }) => ({ allocations: [{ gateway: owner === 'big' ? 'x'.repeat(almost) : owner }] }) }))
  const client = (await bus()).client(ipam)
  t.regex((await failureOf(within(5_000, (call) => client.allocate({ owner: 'x'.repeat(almost) }, call)))).message, /request .* bytes/)
  t.regex((await failureOf(within(5_000, (call) => client.allocate({ owner: 'big' }, call)))).message, /answer .* bytes/)
})

test('a budget from the wire is bounded', async (t) => {
  const { nats, bus } = await onNats(t)
  const budgets: number[] = []
  await (await bus()).serve(
    ipam,
    handlersOf(ipam, {
      allocate: async (_request, call) => {
        await new Promise((resolve) => setTimeout(resolve, 20))
        call.signal.throwIfAborted()
        budgets.push(call.deadlineMs - call.clock.monotonicMs())
        return {}
      },
    }),
  )
  const person = await connect({ servers: nats.url })
  t.teardown(() => person.close())
  for (const text of ['1e300', 'Infinity', '99999999999']) {
    const given = headers()
    given.set('heddle-budget-ms', text)
    t.is((await person.request('heddle.v1.Ipam.Allocate', '', { timeout: 5_000, headers: given })).headers, undefined)
  }
  t.is(budgets.length, 3)
  for (const budgetMs of budgets) t.true(budgetMs > 300_000 && budgetMs <= 600_000)
})

test("user and password of a server's URL are used, and named by no log", async (t) => {
  const nats = await startNats({ args: ['--user', 'host', '--pass', 'p@ss:1/2'] })
  t.teardown(() => nats.stop())
  const address = nats.url.replace('nats://', '')
  const written = `nats://host:${encodeURIComponent('p@ss:1/2')}@${address}`
  const bus = await connectBus({ servers: [written], name: 'u', logger: recordingLogger() })
  await within(5_000, (call) => bus.flush(call))
  t.is(bus.status, 'connected')
  await bus.close()
  const given = await connectBus({ servers: [nats.url], name: 'u', logger: recordingLogger(), credentials: { user: 'host', password: 'p@ss:1/2' } })
  await given.close()
  t.is(redactServer(written), `nats://host:***@${address}`)
  t.is(redactServer('nats://token@[::1]:4222'), 'nats://***@[::1]:4222')
  for (const plain of [nats.url, '10.0.0.1:4222', 'nats://[::1]:4222']) t.is(redactServer(plain), plain)
  await t.throwsAsync(connectBus({ servers: ['nats://a:1@h:1', 'nats://b:1@h:2'], name: 'u', logger: recordingLogger() }), { message: /different accounts/ })
})

test('the stock tools find, describe and count what is served', async (t) => {
  const { nats, bus } = await onNats(t)
  const server = await bus({ host: 'h1', version: '1.2.3' })
  const serving = await server.serve(ipam, handlersOf(ipam, { allocate: echo }))
  await server.serve(wiring, handlersOf(wiring, {}), { host: 'h1' })
  const client = (await bus()).client(ipam)
  for (let index = 0; index < 3; index++) await within(5_000, (call) => client.allocate({}, call))
  const tool = await connect({ servers: nats.url })
  t.teardown(() => tool.close())
  // The library's own client of the service API, which checks types and shapes as `nats micro` does.
  const micro = tool.services.client({ strategy: 'timer' as never, maxWait: 300 })
  const found = []
  for await (const one of await micro.ping()) found.push(one)
  t.deepEqual(found.map(({ name }) => name).sort(), ['ipam', 'netns-wiring'])
  const [pinged] = found.filter(({ name }) => name === 'ipam')
  const described = []
  for await (const one of await micro.info('ipam', pinged?.id)) described.push(one)
  t.is(described.length, 1)
  t.like(described[0], { name: 'ipam', version: '1.2.3', metadata: { host: 'h1' } })
  t.true(described[0]?.endpoints.some((endpoint) => endpoint.subject === 'heddle.v1.Ipam.Allocate' && endpoint.queue_group === 'ipam'))
  const counted = []
  for await (const one of await micro.stats('ipam')) counted.push(one)
  const allocate = counted[0]?.endpoints?.find((endpoint) => endpoint.name === 'Allocate')
  t.is(allocate?.num_requests, 3)
  t.is(allocate?.num_errors, 0)
  t.true((allocate?.processing_time ?? 0) > 0)
  await serving.stop()
  const left = []
  for await (const one of await micro.ping()) left.push(one.name)
  t.deepEqual(left, ['netns-wiring'])
  t.truthy(ServiceVerb)
})

test('what this process serves for its own host is delivered without NATS, and nothing else is', async (t) => {
  const { nats, bus } = await onNats(t)
  const host = await bus({ host: 'h1' })
  const held: unknown[] = []
  await host.serve(
    wiring,
    handlersOf(wiring, {
      attach: async (request) => {
        held.push(request)
        request.routes.push({ destination: 'changed', gateway: '' } as never)
        return {}
      },
    }),
    { host: 'h1' },
  )
  await host.serve(ipam, handlersOf(ipam, { allocate: echo }))
  await nats.kill()
  await until(() => host.status === 'disconnected', 'the loss was noticed')
  const request = { routes: [] }
  await within(5_000, (call) => host.client(wiring, 'h1').attach(request, call))
  t.is(held.length, 1)
  t.deepEqual(request, { routes: [] }, 'the caller does not see what the handler does to its copy')
  t.is((await failureOf(within(100, (call) => host.client(wiring, 'h2').attach({}, call)))).code, 'unavailable')
  t.is((await failureOf(within(100, (call) => host.client(ipam).allocate({}, call)))).code, 'unavailable')
})

test('an embedded process delivers to its cluster services too', async (t) => {
  const { nats, bus } = await onNats(t)
  const process = await bus({ local: true })
  const serving = await process.serve(ipam, handlersOf(ipam, { allocate: echo }))
  await t.throwsAsync(process.serve(ipam, handlersOf(ipam, {})), { message: /already served/ })
  t.is((await within(5_000, async (call) => (await bus()).client(ipam).allocate({ owner: 'outside' }, call))).allocations[0]?.gateway, 'outside')
  await nats.kill()
  await until(() => process.status === 'disconnected', 'the loss was noticed')
  t.is((await within(5_000, (call) => process.client(ipam).allocate({ owner: 'inside' }, call))).allocations[0]?.gateway, 'inside')
  await serving.stop()
  t.is((await failureOf(within(100, (call) => process.client(ipam).allocate({}, call)))).code, 'unavailable')
})
