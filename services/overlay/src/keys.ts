/** The etcd keys of this service. Names were checked before they come here (core/ids.ts). */
export const prefix = 'heddle/overlay/'

export const keys = {
  /** {networkId, claimedAt}; or {networkId, freedAt}, leased: the VNI may not be used again yet. */
  vni: (vni: number) => `${prefix}vni/${vni}`,
  /** {vni}: a network's claim. */
  vniOf: (networkId: string) => `${prefix}vni-of/${networkId}`,
  /** Host JSON. */
  host: (name: string) => `${prefix}host/${name}`,
  /** {lease, epoch}, leased: the host is alive. */
  live: (name: string) => `${prefix}live/${name}`,
  /** {host}: makes a VTEP address unique. */
  vtep: (address: string) => `${prefix}vtep/${address}`,
} as const

export const prefixes = {
  vniOf: keys.vniOf(''),
  hosts: keys.host(''),
} as const
