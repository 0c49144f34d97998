/** What both set: one VF with the same settings, address and route. */
import type { SetVf } from '@heddle/kernel'

export interface Attached {
  readonly pci: string
  readonly sandbox: { readonly path: string }
  readonly ifname: string
  readonly settings: Required<Pick<SetVf, 'vlan' | 'rate' | 'spoofchk' | 'trust'>>
  /** Undefined: the VF's own. */
  readonly mac: string | undefined
  readonly address: string
  readonly gateway: string
}
