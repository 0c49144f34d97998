/**
 * Detaches an endpoint. The interface must go; the brains are then told, and what cannot be told to them in time is
 * released by their sweeps, which find that the host has no interface for the record and no record for the claims.
 */
import { type Call, HeddleError, undoCall, withCall } from '@heddle/core'
import { briefly } from './briefly.ts'
import type { FlowParts } from './parts.ts'

export interface DetachWish {
  readonly endpointId: string
  /** Helps the hands when the endpoint's links are already gone; may be empty. */
  readonly networkId: string
  readonly sandbox: string
  readonly interfaceName: string
}

/** Succeeds when nothing is there. */
export function detach(parts: FlowParts, wish: DetachWish, call: Call): Promise<void> {
  return parts.endpoints.run(wish.endpointId, call, async () => {
    await parts.cluster.wiring.detach(wish, call)
    await release(parts, wish.endpointId, call)
  })
}

/**
 * Answers when the interface is gone and tells the brains behind the answer, for a caller who can do nothing with it: should
 * this process end meanwhile, their sweeps find what it did not tell them.
 */
export function detachAhead(parts: FlowParts, wish: DetachWish, call: Call): Promise<void> {
  return parts.endpoints.runBehind(wish.endpointId, call, async (answer) => {
    await parts.cluster.wiring.detach(wish, call)
    answer()
    await withCall(undoCall(call, 2 * parts.releaseTimeoutMs), (behind) => release(parts, wish.endpointId, behind))
  })
}

/** Forgets the record and frees the addresses, side by side and within the release budget. Never fails. */
export function release(parts: FlowParts, endpointId: string, call: Call): Promise<void> {
  const { ipam, networks } = parts.cluster
  return briefly(call, parts.releaseTimeoutMs, async (late) => {
    const outcomes = await Promise.allSettled([networks.deleteEndpoint({ id: endpointId }, late), ipam.release({ owner: endpointId }, late)])
    const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [HeddleError.from(outcome.reason).message] : []))
    if (failed.length > 0)
      parts.logger.warn({ endpoint: endpointId, failed }, 'the interface is gone, but not all brains were told; their sweeps will release the rest')
  })
}
