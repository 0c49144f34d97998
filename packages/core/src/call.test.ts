import test from 'ava'
import { type Clock, errorCatalogue, fromFailure, HeddleError, raceCall, remainingMs, sleep, toFailure, undoCall, withCall } from './index.ts'

/** A clock that only moves when told to. */
function manualClock(): Clock & { advance(byMs: number): void } {
  let nowMs = 0
  const timers = new Set<{ atMs: number; callback: () => void }>()
  return {
    monotonicMs: () => nowMs,
    wallMs: () => nowMs,
    timestamp: () => new Date(nowMs).toISOString(),
    after(delayMs, callback) {
      const timer = { atMs: nowMs + delayMs, callback }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    advance(byMs) {
      nowMs += byMs
      for (const timer of [...timers].filter(({ atMs }) => atMs <= nowMs)) {
        timers.delete(timer)
        timer.callback()
      }
    },
  }
}

test('a call aborts at its deadline with a typedable reason', async (t) => {
  const clock = manualClock()
  const error = await t.throwsAsync(
    withCall({ timeoutMs: 50, clock }, async (call) => {
      const waiting = sleep(clock, 1000, call.signal)
      clock.advance(49)
      t.is(remainingMs(call), 1)
      t.false(call.signal.aborted)
      clock.advance(1)
      return waiting
    }),
  )
  t.true(HeddleError.is(error) && error.code === 'deadline-exceeded' && error.retryable)
})

test('a caller that goes away cancels the call, but not its undo', async (t) => {
  const caller = new AbortController()
  const error = await t.throwsAsync(
    withCall({ timeoutMs: 1000, signal: caller.signal, key: 'k' }, async (call) => {
      caller.abort()
      t.true(call.signal.aborted)
      await withCall(undoCall(call, 100), async (undo) => {
        t.false(undo.signal.aborted)
        t.is(undo.key, 'k')
      })
      return raceCall(new Promise(() => {}), call)
    }),
  )
  t.true(HeddleError.is(error) && error.code === 'cancelled')
})

test('every error crosses the wire with its code, field and remedy, and never its cause', (t) => {
  for (const code of Object.keys(errorCatalogue) as (keyof typeof errorCatalogue)[]) {
    const error = new HeddleError(code, 'message', { field: 'f', remedy: 'r', details: { a: 'b' }, cause: new Error('secret') })
    const back = fromFailure(toFailure(error))
    t.deepEqual([back.code, back.message, back.field, back.remedy, back.details], [code, 'message', 'f', 'r', { a: 'b' }])
    t.false(JSON.stringify(toFailure(error)).includes('secret'))
  }
  t.is(fromFailure({ ...toFailure(new HeddleError('internal', 'x')), code: 'from-the-future' }).code, 'internal')
})
