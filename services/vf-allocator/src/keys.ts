/** The keys below `heddle/vf/`. Nobody but vf-allocator reads or writes them. Names were checked before they come here. */
export const prefix = 'heddle/vf/'

export const keys = {
  /** Inventory JSON: what the hands of the host last reported, with the baselines. */
  host: (host: string) => `${prefix}host/${host}`,
  /** Claim JSON: whose a VF is. */
  claim: (host: string, pci: string) => `${prefix}claim/${host}/${pci}`,
  /** `{"host","pci"}`: the one VF of an owner, written in the transaction that writes the claim. */
  owner: (owner: string) => `${prefix}owner/${owner}`,
  /** Pool JSON. */
  pool: (name: string) => `${prefix}pool/${name}`,
  /** `{"epoch","heldAt"}`: no VF of the PF is claimed. */
  hold: (host: string, pf: string) => `${prefix}hold/${host}/${pf}`,
  /** Written by every claim that keeps its group apart, so that two of them at once meet. */
  apart: (host: string) => `${prefix}apart/${host}`,
} as const

export const prefixes = {
  hosts: keys.host(''),
  claims: `${prefix}claim/`,
  claimsOf: (host: string) => keys.claim(host, ''),
  pools: keys.pool(''),
  holds: `${prefix}hold/`,
  holdsOf: (host: string) => keys.hold(host, ''),
} as const

/** Of a claim's or a hold's key. */
export function placeOf(key: string, below: string): { readonly host: string; readonly pci: string } {
  const [host = '', pci = ''] = key.slice(below.length).split('/')
  return { host, pci }
}
