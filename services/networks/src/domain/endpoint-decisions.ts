/**
 * What becomes of endpoint records, decided from records read in one transaction. Each decision holds only while they are
 * as read; that is what makes PutEndpoint, DeleteNetwork and Fence safe against one another.
 */
import type { Endpoint } from '@heddle/contract'
import { HeddleError, invalid } from '@heddle/core'
import type { Known, Question, Write } from '@heddle/store'
import { keys } from '../keys.ts'
import { checkInPools, describe } from './endpoint.ts'
import { networkUnknown } from './network-decisions.ts'
import { type FenceRecord, type MacHolder, type NetworkRef, read, readEndpoint, readNetwork, writeEndpoint } from './records.ts'
import { checkHasVf } from './sriov.ts'

/** Records a checked endpoint. Throws network-unknown, mac-taken, claim-fenced, address-outside-pool. */
export function putEndpoint(asked: Endpoint, claimRevision: bigint, now: string): Question<Endpoint> {
  const { id, networkId, mac } = asked
  const at = {
    network: keys.network(networkId),
    index: keys.endpointIndex(id),
    endpoint: keys.endpoint(networkId, id),
    mac: keys.mac(networkId, mac),
    fence: keys.fence(id),
  }
  return {
    keys: () => Object.values(at),
    decide: (known) => {
      const networkRecord = known.get(at.network)
      if (networkRecord === undefined) throw networkUnknown('id', networkId)
      const network = readNetwork(networkRecord)
      checkInPools(asked, network)
      checkHasVf(asked, network)
      const index = known.get(at.index)
      if (index !== undefined && read<NetworkRef>(index).networkId !== networkId) {
        throw invalid(
          'endpoint.networkId',
          `endpoint ${id} is recorded in another network`,
          'an endpoint id stays in the network it was first recorded in: delete it there first',
        )
      }
      const record = known.get(at.endpoint)
      const before = record === undefined ? undefined : readEndpoint(record)
      checkMacFree(known, at.mac, asked, network.name)
      const after = { ...asked, networkName: network.name, networkKind: network.kind, createdAt: before?.createdAt ?? now, updatedAt: now }
      if (before !== undefined && sameEndpoint(before, after)) return { write: [], result: before }
      // What is recorded already is no claim of the past: only new addresses and another VF are held against the fence.
      if (before === undefined || !isSubset(after.addresses, before.addresses) || after.vf?.pci !== before.vf?.pci)
        checkFence(known, at.fence, asked, claimRevision)
      const write: Write[] = [{ put: at.endpoint, value: writeEndpoint(after) }]
      if (index === undefined) write.push({ put: at.index, value: JSON.stringify({ networkId }) })
      if (!known.has(at.mac)) write.push({ put: at.mac, value: JSON.stringify({ endpointId: id }) })
      if (before !== undefined && before.mac !== mac) write.push({ delete: keys.mac(networkId, before.mac) })
      return { write, result: after }
    },
  }
}

/** Deletes an endpoint with its index and MAC; `unless` lets a sweeper insist on the revision it judged. */
export function deleteEndpoint(id: string, onlyAt?: bigint): Question<Endpoint | undefined> {
  const indexKey = keys.endpointIndex(id)
  const endpointKeyOf = (known: Known) => {
    const index = known.get(indexKey)
    return index === undefined ? undefined : keys.endpoint(read<NetworkRef>(index).networkId, id)
  }
  return {
    keys: (known) => [indexKey, endpointKeyOf(known)].filter((key) => key !== undefined),
    decide: (known) => {
      const key = endpointKeyOf(known)
      const record = key === undefined ? undefined : known.get(key)
      if (key === undefined) return { write: [], result: undefined }
      if (record === undefined) return { write: [{ delete: indexKey }], result: undefined }
      if (onlyAt !== undefined && record.modRevision !== onlyAt) return { write: [], result: undefined }
      const endpoint = readEndpoint(record)
      return { write: [{ delete: key }, { delete: indexKey }, { delete: keys.mac(endpoint.networkId, endpoint.mac) }], result: endpoint }
    },
  }
}

/** Bars claims of an owner up to a revision; false when an endpoint of that id is recorded. Always written anew, for its lease. */
export function fence(owner: string, claimRevision: bigint, lease: bigint, now: string): Question<boolean> {
  const indexKey = keys.endpointIndex(owner)
  const fenceKey = keys.fence(owner)
  return {
    keys: () => [indexKey, fenceKey],
    decide: (known) => {
      if (known.has(indexKey)) return { write: [], result: false }
      const barred = barredUpTo(known, fenceKey)
      const highest = barred > claimRevision ? barred : claimRevision
      const value: FenceRecord & { lease: string } = { claimRevision: String(highest), fencedAt: now, lease: String(lease) }
      return { write: [{ put: fenceKey, value: JSON.stringify(value), lease }], result: true }
    },
  }
}

function checkMacFree(known: Known, macKey: string, asked: Endpoint, networkName: string): void {
  const record = known.get(macKey)
  if (record === undefined) return
  const { endpointId } = read<MacHolder>(record)
  if (endpointId === asked.id) return
  throw new HeddleError('mac-taken', `MAC ${asked.mac} is taken in network ${networkName} by endpoint ${endpointId}`, {
    field: 'endpoint.mac',
    remedy: 'use another MAC, or none to get one made from the endpoint id',
    details: { endpointId },
  })
}

function checkFence(known: Known, fenceKey: string, asked: Endpoint, claimRevision: bigint): void {
  const barred = barredUpTo(known, fenceKey)
  if (claimRevision > barred) return
  throw new HeddleError('claim-fenced', `what ${describe(asked)} had claimed was given up because nothing had recorded the endpoint in time`, {
    remedy: 'claim again and record the endpoint with the new claims',
    details: { claimRevision: String(claimRevision), fencedUpTo: String(barred) },
  })
}

function barredUpTo(known: Known, fenceKey: string): bigint {
  const record = known.get(fenceKey)
  return record === undefined ? -1n : BigInt(read<FenceRecord>(record).claimRevision)
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return writeEndpoint({ ...a, updatedAt: '' }) === writeEndpoint({ ...b, updatedAt: '' })
}

function isSubset(addresses: readonly string[], of: readonly string[]): boolean {
  return addresses.every((address) => of.includes(address))
}
