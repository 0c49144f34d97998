/**
 * A part of a call with a budget of its own: at most half of what the call has left, so that whoever must answer although
 * nobody answered him still has the time to.
 */
import { type Call, remainingMs, undoCall, withCall } from '@heddle/core'

export function briefly<T>(call: Call, timeoutMs: number, body: (call: Call) => Promise<T>): Promise<T> {
  return withCall({ ...undoCall(call, Math.min(timeoutMs, remainingMs(call) / 2)), signal: call.signal }, body)
}
