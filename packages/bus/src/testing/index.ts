/** For the tests of this package: handlers of a whole service from those a test is about, and calls. */
import { type AllocateRequest, busServices, type ServiceDefinition } from '@heddle/contract'
import { type Call, type CallOptions, HeddleError, withCall } from '@heddle/core'
import { startNats } from '@heddle/testkit'
import type { ExecutionContext } from 'ava'
import { type BusLogger, type BusOptions, connectBus, type Handlers } from '../index.ts'

export const { ipam, wiring } = busServices

/** What a test does not give answers with an empty message. */
export function handlersOf<S extends ServiceDefinition>(service: { readonly definition: S }, given: Partial<Handlers<S>>): Handlers<S> {
  const empty = Object.fromEntries(Object.keys(service.definition.methods).map((name) => [name, async () => ({})]))
  return { ...empty, ...given } as unknown as Handlers<S>
}

/** Answers with the owner of the request as the gateway. */
export const echo = async (request: AllocateRequest) => ({ allocations: [{ gateway: request.owner }] })

export function within<T>(timeoutMs: number, body: (call: Call) => Promise<T>, options: Partial<CallOptions> = {}): Promise<T> {
  return withCall({ timeoutMs, key: 'test', ...options }, body)
}

/** The HeddleError a promise rejects with. */
export async function failureOf(promise: Promise<unknown>): Promise<HeddleError> {
  try {
    await promise
  } catch (error) {
    if (HeddleError.is(error)) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

export function recordingLogger(): BusLogger & { readonly lines: string[] } {
  const lines: string[] = []
  const write = (_fields: unknown, message?: unknown) => void lines.push(String(message))
  return { lines, info: write as BusLogger['info'], warn: write as BusLogger['warn'], error: write as BusLogger['error'] }
}

/** A server of its own for a test, and buses on it; all end with the test. */
export async function onNats(t: ExecutionContext) {
  const nats = await startNats()
  t.teardown(() => nats.stop())
  return {
    nats,
    async bus(options: Partial<BusOptions> = {}) {
      const bus = await connectBus({ servers: [nats.url], name: t.title.slice(0, 30), logger: recordingLogger(), ...options })
      t.teardown(() => bus.close())
      return bus
    },
  }
}

export function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs
  return new Promise((resolve, reject) => {
    const look = () => {
      if (condition()) resolve()
      else if (performance.now() > endMs) reject(new Error(`waited in vain until ${what}`))
      else setTimeout(look, 5)
    }
    look()
  })
}
