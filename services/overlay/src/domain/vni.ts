/** Who has which VXLAN network identifier (RFC 7348: 24 bits), decided from records read in one transaction. */
import { checkOpaqueId, HeddleError, invalid } from '@heddle/core'
import type { Known, Question } from '@heddle/store'
import { keys } from '../keys.ts'
import { read, type VniOfRecord, type VniRecord } from './records.ts'

/** Lower ones are left to what operators configure by hand. */
export const minVni = 4096
export const maxVni = 2 ** 24 - 1

export function checkVni(vni: number): number {
  if (vni < minVni || vni > maxVni) throw invalid('vni', `VNI ${vni} cannot be claimed`, `use ${minVni} to ${maxVni}, or 0 for any`)
  return vni
}

/** One token of a NATS subject as well as of a key: no dots. */
export function checkNetworkId(id: string, field = 'networkId'): string {
  if (/[.:]/.test(checkOpaqueId(id, field))) throw invalid(field, `network id ${JSON.stringify(id)} is not valid`, 'use letters, digits, "_" and "-"')
  return id
}

/** `random` is in [0, 1). */
export function randomVni(random: () => number): number {
  return minVni + Math.floor(random() * (maxVni - minVni + 1))
}

/** The VNI the network has now, or why it could not get this one. Throws vni-taken when it has another than the one it must get. */
export function claimVni(networkId: string, vni: number, must: boolean, now: string): Question<{ readonly vni: number } | { readonly taken: VniRecord }> {
  const ofKey = keys.vniOf(networkId)
  const vniKey = keys.vni(vni)
  return {
    keys: () => [ofKey, vniKey],
    decide: (known) => {
      const has = known.get(ofKey)
      if (has !== undefined) {
        const claimed = read<VniOfRecord>(has).vni
        if (must && claimed !== vni) throw vniTaken(vni, `network ${networkId} has VNI ${claimed} already`)
        return { write: [], result: { vni: claimed } }
      }
      const taken = known.get(vniKey)
      if (taken !== undefined) return { write: [], result: { taken: read<VniRecord>(taken) } }
      const write = [
        { put: ofKey, value: JSON.stringify({ vni, claimedAt: now } satisfies VniOfRecord) },
        { put: vniKey, value: JSON.stringify({ networkId, claimedAt: now } satisfies VniRecord) },
      ]
      return { write, result: { vni } }
    },
  }
}

/**
 * Frees a network's VNI and leaves a tombstone that the lease ends: a host that is cut off may still forward frames of the
 * old network, and must not deliver them into a new one. False when there was nothing, or not as it was at `onlyAt`.
 */
export function releaseVni(networkId: string, tombstoneLease: bigint, now: string, onlyAt?: bigint): Question<boolean> {
  const ofKey = keys.vniOf(networkId)
  const vniKeyOf = (known: Known) => {
    const has = known.get(ofKey)
    return has === undefined ? undefined : keys.vni(read<VniOfRecord>(has).vni)
  }
  return {
    keys: (known) => [ofKey, vniKeyOf(known)].filter((key) => key !== undefined),
    decide: (known) => {
      const vniKey = vniKeyOf(known)
      if (vniKey === undefined || (onlyAt !== undefined && known.get(ofKey)?.modRevision !== onlyAt)) return { write: [], result: false }
      const tombstone = JSON.stringify({ networkId, freedAt: now } satisfies VniRecord)
      return { write: [{ delete: ofKey }, { put: vniKey, value: tombstone, lease: tombstoneLease }], result: true }
    },
  }
}

export function vniTaken(vni: number, why: string): HeddleError {
  return new HeddleError('vni-taken', `VNI ${vni} is not free: ${why}`, { field: 'vni', remedy: 'ask for another one, or for 0 to get any' })
}

export function whyTaken(taken: VniRecord): string {
  return taken.freedAt === undefined ? `network ${taken.networkId} has it` : `it was freed at ${taken.freedAt} and rests for ten minutes`
}
