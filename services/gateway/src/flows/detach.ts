/**
 * Detaches an endpoint. The interface must go; the brains are then told, and what cannot be told to them in time is
 * released by their sweeps, which find that the host has no interface for the record and no record for the claims.
 */
import type { VfAttachment } from '@heddle/contract'
import { type Call, HeddleError, undoCall, withCall } from '@heddle/core'
import { briefly } from './briefly.ts'
import type { FlowParts } from './parts.ts'

export interface DetachWish {
  readonly endpointId: string
  /** Helps the hands when the endpoint's links are already gone; may be empty. */
  readonly networkId: string
  readonly sandbox: string
  readonly interfaceName: string
  /** Where it is known; else the hands ask for the claim. */
  readonly vf?: VfAttachment | undefined
}

/** Succeeds when nothing is there. */
export function detach(parts: FlowParts, wish: DetachWish, call: Call): Promise<void> {
  return parts.endpoints.run(wish.endpointId, call, async () => {
    await parts.cluster.wiring.detach(wish, call)
    await release(parts, wish, call)
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
    await withCall(undoCall(call, 2 * parts.releaseTimeoutMs), (behind) => release(parts, wish, behind))
  })
}

/**
 * Forgets the record and frees addresses and VF, side by side and within the release budget. Only after the hands said that the
 * interface is gone, and a VF at its baseline: it may be somebody else's the moment it is free. Never fails.
 */
export function release(parts: FlowParts, { endpointId, vf }: Pick<DetachWish, 'endpointId' | 'vf'>, call: Call): Promise<void> {
  const { ipam, networks } = parts.cluster
  return briefly(call, parts.releaseTimeoutMs, async (late) => {
    const forgotten = networks.deleteEndpoint({ id: endpointId }, late)
    const outcomes = await Promise.allSettled([
      forgotten,
      ipam.release({ owner: endpointId }, late),
      vf === undefined
        ? forgotten.then(({ endpoint }) => (endpoint?.vf === undefined ? undefined : releaseVf(parts, endpointId, late)))
        : releaseVf(parts, endpointId, late),
    ])
    const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [HeddleError.from(outcome.reason).message] : []))
    if (failed.length > 0)
      parts.logger.warn({ endpoint: endpointId, failed }, 'the interface is gone, but not all brains were told; their sweeps will release the rest')
  })
}

/** Of a VF that is back at its baseline. */
export function releaseVf(parts: FlowParts, owner: string, call: Call): Promise<unknown> {
  return parts.cluster.vfAllocator.release({ owner }, call)
}
