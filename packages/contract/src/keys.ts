/**
 * Keys of the records that another service than their owner may read (it may only watch them; the owner alone writes).
 * Every other key is private to its service's own `keys.ts`.
 */
export const sharedKeys = {
  /** Endpoint JSON, written by networks, watched by overlay: `<prefix><network id>/<endpoint id>`. */
  endpoints: 'heddle/networks/endpoint/',
} as const

export function endpointKey(networkId: string, endpointId: string): string {
  return `${sharedKeys.endpoints}${networkId}/${endpointId}`
}
