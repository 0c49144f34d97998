/**
 * Detaches an endpoint. The interface must go; the brains are then told, and what cannot be told to them in time is
 * released by their sweeps, which find that the host has no interface for the record and no record for the claims.
 */
import type { DeleteEndpointResponse, VfAttachment } from '@heddle/contract'
import { type Call, HeddleError, raceCall, undoCall, withCall } from '@heddle/core'
import { briefly } from './briefly.ts'
import type { FlowParts } from './parts.ts'
import { releaseVf } from './vf.ts'

export interface DetachWish {
  readonly endpointId: string
  /** Helps the hands when the endpoint's links are already gone; may be empty. */
  readonly networkId: string
  readonly sandbox: string
  readonly interfaceName: string
  /** Of the network; empty where it is not known. */
  readonly networkKind?: string | undefined
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
 * Forgets the record and frees the addresses, side by side and within the release budget, and the VF of an endpoint that has
 * one or may have one. Never fails. Only after the hands have detached it: a VF is put back by then.
 */
export function release(parts: FlowParts, wish: Pick<DetachWish, 'endpointId' | 'networkKind' | 'vf'>, call: Call): Promise<void> {
  const { ipam, networks } = parts.cluster
  const id = wish.endpointId
  return briefly(call, parts.releaseTimeoutMs, async (late) => {
    const forgotten = networks.deleteEndpoint({ id }, late)
    const outcomes = await Promise.allSettled([forgotten, ipam.release({ owner: id }, late), freeVf(parts, wish, forgotten, late)])
    const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [HeddleError.from(outcome.reason).message] : []))
    if (failed.length > 0)
      parts.logger.warn({ endpoint: id, failed }, 'the interface is gone, but not all brains were told; their sweeps will release the rest')
  })
}

/** Without a question more for an endpoint on a bridge or an overlay: the network is known, or the record that is deleted says it. */
async function freeVf(
  parts: FlowParts,
  { endpointId, networkKind = '', vf }: Pick<DetachWish, 'endpointId' | 'networkKind' | 'vf'>,
  forgotten: Promise<DeleteEndpointResponse>,
  call: Call,
): Promise<void> {
  if (vf === undefined && networkKind !== 'sriov') {
    // A record that is not answered for in half of the time leaves the other half for what it would have said.
    const mayBe = await briefly(call, parts.releaseTimeoutMs, (soon) => raceCall(forgotten, soon)).then(
      ({ endpoint }) => (endpoint === undefined ? networkKind === '' : endpoint.networkKind === 'sriov'),
      () => networkKind === '',
    )
    if (!mayBe) return
  }
  await releaseVf(parts, endpointId, call)
}
