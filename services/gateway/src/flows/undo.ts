/**
 * What a flow has begun, so that it can be taken back in reverse. A step is registered before it is sent: a step whose
 * answer was lost may have happened. Nothing depends on undo succeeding: the sweeps find what it left.
 */
import { type Call, HeddleError, undoCall, withCall } from '@heddle/core'
import type { FlowParts } from './parts.ts'

const stepTimeoutMs = 2000

export class Undo {
  #steps: { readonly name: string; readonly step: (call: Call) => Promise<unknown>; readonly timeoutMs: number }[] = []

  add(name: string, step: (call: Call) => Promise<unknown>, timeoutMs = stepTimeoutMs): void {
    this.#steps.push({ name, step, timeoutMs })
  }

  /** Nothing begun so far is to be taken back. */
  disarm(): void {
    this.#steps = []
  }

  async run(call: Call, logger: FlowParts['logger']): Promise<void> {
    for (const { name, step, timeoutMs } of this.#steps.toReversed()) {
      try {
        await withCall(undoCall(call, timeoutMs), step)
      } catch (error) {
        logger.warn({ key: call.key, step: name, failure: HeddleError.from(error).message }, 'undo failed; the sweep will do it')
      }
    }
  }
}

/** Runs `body`; when it fails, undoes what it had begun and throws its error, never one of the undoing. */
export async function undoing<T>(parts: Pick<FlowParts, 'logger'>, call: Call, body: (undo: Undo) => Promise<T>): Promise<T> {
  const undo = new Undo()
  try {
    return await body(undo)
  } catch (error) {
    await undo.run(call, parts.logger)
    throw error
  }
}

/** Like Promise.all, but settles only when all have, so that nothing is undone while it is still being done. */
export async function together<T extends readonly unknown[] | []>(promises: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  try {
    return await Promise.all(promises)
  } catch (error) {
    await Promise.allSettled(promises)
    throw error
  }
}
