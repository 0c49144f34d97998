/** A result of ADD in any version, read leniently: whether it is as its version wants it is for the rules to say. */

export interface ResultInterface {
  readonly name: string
  readonly mac?: string
  readonly sandbox?: string
  readonly mtu?: number
}

export interface Result {
  readonly interfaces: readonly ResultInterface[]
  readonly ips: readonly { readonly address: string; readonly interface?: number }[]
  readonly routes: readonly { readonly dst: string; readonly gw?: string }[]
}

const list = (value: unknown): any[] => (Array.isArray(value) ? value : [])

export function readResult(json: any): Result {
  const legacy = [json?.ip4, json?.ip6].filter((one) => typeof one === 'object' && one !== null)
  return {
    interfaces: list(json?.interfaces),
    ips: legacy.length > 0 ? legacy.map(({ ip: address }) => ({ address })) : list(json?.ips),
    routes: legacy.length > 0 ? legacy.flatMap(({ routes }) => list(routes)) : list(json?.routes),
  }
}

export const addressesIn = (json: unknown): string[] => readResult(json).ips.map(({ address }) => address)

/** Those of the host's side. */
export const hostInterfacesIn = (json: unknown): readonly ResultInterface[] => readResult(json).interfaces.filter(({ sandbox }) => !sandbox)

export const isV6 = (address: string): boolean => address.includes(':')

/** Every container has it. */
export const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1/128'
