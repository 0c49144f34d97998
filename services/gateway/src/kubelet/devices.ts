/** VFs as the kubelet is told of them: the address as id, whether a pod can have one, and its NUMA node. */
import type { devicePlugin, Pf, Vf } from '@heddle/contract'

/** A VF, the pool it is offered by and what the kubelet is told of it. */
export interface Offer {
  readonly vf: Vf
  /** Bound when the VF is handed out; empty: its kernel driver. */
  readonly driver: string
  readonly device: devicePlugin.Device
}

/** One extended resource of this host. */
export interface Resource {
  /** `prefix/name`. */
  readonly name: string
  readonly policy: 'pack' | 'spread'
  /** By PCI address, in its order. */
  readonly offers: ReadonlyMap<string, Offer>
}

export const reservedBy = 'kubelet'

export const isReserved = (vf: Vf): boolean => vf.claim?.reservedBy === reservedBy

/** Reserved for the kubelet, and no endpoint has it. */
export const isOnlyReserved = (vf: Vf): boolean => isReserved(vf) && vf.claim?.owner === '' && !vf.claim.releasing

/** `elsewhere`: the kubelet has it under another resource. */
export function deviceOf(vf: Vf, pf: Pf | undefined, elsewhere: boolean): devicePlugin.Device {
  return {
    ID: vf.pci,
    health: isHealthy(vf, pf) && !elsewhere ? 'Healthy' : 'Unhealthy',
    topology: vf.numaNode < 0 ? undefined : { nodes: [{ ID: BigInt(vf.numaNode) }] },
  }
}

/**
 * A VF that a pod has stays healthy whatever its settings are: whoever uses it may change them. One that Docker or CNI took
 * without the kubelet is no pod's to have, nor one that is not at its baseline.
 */
function isHealthy(vf: Vf, pf: Pf | undefined): boolean {
  if (vf.state === 'quarantined' || vf.claim?.releasing === true || !hasCarrier(vf, pf)) return false
  if (vf.claim !== undefined) return isReserved(vf)
  return vf.state === 'ready' && pf?.held !== true
}

/** Without the port's carrier no frame leaves the card, unless the VF's link is forced up: then its neighbours are still reached. */
function hasCarrier(vf: Vf, pf: Pf | undefined): boolean {
  // A driver without netdev tells of no carrier.
  return pf === undefined || pf.names.length === 0 || pf.carrier || vf.settings?.linkState === 'enable'
}
