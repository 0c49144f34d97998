/**
 * Names and aliases of every kernel object of Heddle on a host. Names are hashes (IFNAMSIZ allows 15 bytes); the alias
 * carries the ids, so a freshly started process recognises what is there.
 */
import { hashId, macOf } from '@heddle/core'

const short = (id: string) => hashId(id).slice(0, 11)

/** The host's end of an endpoint's veth pair. */
export const hostEndName = (endpointId: string): string => `hd${short(endpointId)}`
/** The other end while it waits in the host's namespace for dockerd to move it. */
export const handoverName = (endpointId: string): string => `hp${short(endpointId)}`
/** A VF's netdev while it waits for dockerd, which moves it under this name and renames it then: it must be no name of the container's. */
export const waitingVfName = (endpointId: string): string => `hv${short(endpointId)}`
/** A VF's netdev when its own name and the one it had in the container are taken on the host. */
export const refugeVfName = (pci: string): string => `hv${short(pci)}`
export const bridgeName = (networkId: string): string => `hb${short(networkId)}`
export const vxlanName = (networkId: string): string => `hx${short(networkId)}`

export const hostEndMac = (endpointId: string): string => macOf(`host-end\0${endpointId}`)
/** Differs between hosts: bridges of one overlay network share a layer 2. */
export const bridgeMac = (networkId: string, host: string): string => macOf(`bridge\0${networkId}\0${host}`)

export const endpointAlias = (endpointId: string, networkId: string): string => `heddle:${endpointId}:${networkId}`
export const networkAlias = (networkId: string): string => `heddle-net:${networkId}`

/** An endpoint id of a foreign runtime may hold colons, a network id (ours) never does. */
export function parseEndpointAlias(alias: string): { readonly endpointId: string; readonly networkId: string } | undefined {
  const match = /^heddle:(.+):([^:]+)$/.exec(alias)
  return match === null ? undefined : { endpointId: match[1] ?? '', networkId: match[2] ?? '' }
}

export function parseNetworkAlias(alias: string): string | undefined {
  return alias.startsWith('heddle-net:') ? alias.slice('heddle-net:'.length) : undefined
}

const own = /^h[dpbx][0-9a-f]{11}$/
/** Whether a link name is one that Heddle gives. */
export const isOurs = (name: string): boolean => own.test(name)
