/** The etcd keys of this service. Names were checked before they come here (core/ids.ts). */
import { endpointKey, sharedKeys } from '@heddle/contract'

export const prefix = 'heddle/networks/'

export const keys = {
  /** Network JSON; immutable. */
  network: (networkId: string) => `${prefix}network/${networkId}`,
  /** {networkId}: makes the name unique. */
  name: (name: string) => `${prefix}name/${name}`,
  /** {networkId}: a Docker NetworkID of one host. */
  alias: (alias: string) => `${prefix}alias/${alias}`,
  /** The same the other way round, so that a network's aliases can be listed. */
  aliasOf: (networkId: string, alias: string) => `${prefix}alias-of/${networkId}/${alias}`,
  /** Endpoint JSON; the overlay service watches these. */
  endpoint: endpointKey,
  /** {networkId}: finds an endpoint by its id alone. */
  endpointIndex: (endpointId: string) => `${prefix}endpoint-index/${endpointId}`,
  /** {endpointId}: makes a MAC unique in its network. */
  mac: (networkId: string, mac: string) => `${prefix}mac/${networkId}/${mac}`,
  /** {claimRevision}, leased: claims up to it are barred from being recorded. */
  fence: (owner: string) => `${prefix}fence/${owner}`,
} as const

export const prefixes = {
  networks: keys.network(''),
  aliases: keys.alias(''),
  endpoints: sharedKeys.endpoints,
  endpointsOf: (networkId: string) => keys.endpoint(networkId, ''),
  aliasesOf: (networkId: string) => keys.aliasOf(networkId, ''),
} as const
