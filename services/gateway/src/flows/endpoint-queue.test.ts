import { withCall } from '@heddle/core'
import test from 'ava'
import { EndpointQueue } from './endpoint-queue.ts'

test('what an endpoint is asked to do happens one after the other, different endpoints side by side', async (t) => {
  const queue = new EndpointQueue()
  const order: string[] = []
  const gate = Promise.withResolvers<void>()
  await withCall({ timeoutMs: 5000 }, async (call) => {
    const first = queue.run('a', call, async () => {
      await gate.promise
      order.push('a1')
    })
    const second = queue.run('a', call, async () => void order.push('a2'))
    await queue.run('b', call, async () => void order.push('b'))
    gate.resolve()
    await Promise.all([first, second])
  })
  t.deepEqual(order, ['b', 'a1', 'a2'])
})

test('a caller whose time is over is told, and the operation keeps its place until it has ended', async (t) => {
  const queue = new EndpointQueue()
  const gate = Promise.withResolvers<void>()
  const order: string[] = []
  const slow = withCall({ timeoutMs: 20 }, (call) =>
    queue.run('a', call, async () => {
      await gate.promise
      order.push('undone')
    }),
  )
  await t.throwsAsync(slow, { message: /no result within/ })
  const next = withCall({ timeoutMs: 5000 }, (call) => queue.run('a', call, async () => void order.push('next')))
  gate.resolve()
  await next
  t.deepEqual(order, ['undone', 'next'])
})

test('an attach counts until it has ended, also one whose time was over before its turn', async (t) => {
  const queue = new EndpointQueue()
  const gate = Promise.withResolvers<void>()
  const first = withCall({ timeoutMs: 5000 }, (call) => queue.runAttach('a', call, () => gate.promise))
  let ran = false
  const late = withCall({ timeoutMs: 20 }, (call) =>
    queue.runAttach('a', call, async () => {
      ran = true
    }),
  )
  await t.throwsAsync(late)
  const attaching = () => queue.whileAttaching(async (ids) => [...ids])
  t.deepEqual(await attaching(), ['a'])
  gate.resolve()
  await first
  await queue.idle()
  t.deepEqual(await attaching(), [])
  t.false(ran)
})

test('who watches is told of each attach that begins meanwhile, be it over or not', async (t) => {
  const queue = new EndpointQueue()
  await withCall({ timeoutMs: 5000 }, async (call) => {
    const seen = await queue.whileAttaching(async (attaching) => {
      await queue.runAttach('a', call, async () => {})
      return attaching
    })
    await queue.runAttach('b', call, async () => {})
    t.deepEqual([...seen], ['a'])
  })
})

test('what is done behind an answer keeps its place, and who asks for what it frees waits for it', async (t) => {
  const queue = new EndpointQueue()
  const gate = Promise.withResolvers<void>()
  const order: string[] = []
  await withCall({ timeoutMs: 5000 }, async (call) => {
    await queue.runBehind('a', call, async (answer) => {
      order.push('gone')
      answer()
      await gate.promise
      order.push('released')
    })
    order.push('answered')
    const next = queue.run('a', call, async () => void order.push('next'))
    const asked = queue.freed(call).then(() => order.push('asked'))
    gate.resolve()
    await Promise.all([next, asked])
  })
  t.deepEqual(order.slice(0, 3), ['gone', 'answered', 'released'])
  t.deepEqual(order.slice(3).sort(), ['asked', 'next'])
})

test('one that still waits for its turn is waited for by nobody, and its failure is its caller’s', async (t) => {
  const queue = new EndpointQueue()
  await withCall({ timeoutMs: 5000 }, async (call) => {
    let waiting: Promise<void> | undefined
    await queue.run('a', call, async () => {
      waiting = queue.runBehind('a', call, () => Promise.reject(new Error('no interface')))
      await queue.freed(call)
    })
    await t.throwsAsync(async () => waiting, { message: 'no interface' })
  })
})
