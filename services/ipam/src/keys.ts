/** The keys below `heddle/ipam/`. Nobody but ipam reads or writes them. */

/** Pool JSON. */
export const poolPrefix = 'heddle/ipam/pool/'
/** Claim JSON: whose an address is. `<pool id>/<address>`. */
export const claimPrefix = 'heddle/ipam/claim/'
/** `{"claims": ["<pool id>/<address>", ...]}`: every claim of an owner, written in the transaction that writes the claims. */
export const ownerPrefix = 'heddle/ipam/owner/'
/** `{"pools": ["<pool id>", ...]}`: what a new pool of the space must not overlap. */
const spacePrefix = 'heddle/ipam/space/'

export const poolKey = (poolId: string) => `${poolPrefix}${poolId}`
export const ownerKey = (owner: string) => `${ownerPrefix}${owner}`
export const spaceKey = (space: string) => `${spacePrefix}${space}`

/** Prefix of a pool's claims. */
export const claimsBelow = (poolId: string) => `${claimPrefix}${poolId}/`
/** `<pool id>/<address>`: how an owner's record names a claim. */
export const claimRef = (poolId: string, address: string) => `${poolId}/${address}`
export const claimKey = (ref: string) => `${claimPrefix}${ref}`

export function refOfKey(key: string): { readonly ref: string; readonly poolId: string; readonly address: string } {
  const ref = key.slice(claimPrefix.length)
  const slash = ref.indexOf('/')
  return { ref, poolId: ref.slice(0, slash), address: ref.slice(slash + 1) }
}
