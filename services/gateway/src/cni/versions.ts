/** CNI versions and what differs between them in a result. One table; nothing else in the dialect looks at a version. */
import { HeddleError } from '@heddle/core'

export interface ResultShape {
  /** 0.1.0 and 0.2.0: one `ip4` and one `ip6` instead of lists. */
  readonly legacy: boolean
  /** `ips[].version`, gone in 1.0.0. */
  readonly ipVersion: boolean
  readonly interfaceKeys: readonly string[]
  readonly routeKeys: readonly string[]
}

const oldInterface = ['name', 'mac', 'sandbox'] as const
const oldRoute = ['dst', 'gw'] as const
const legacy: ResultShape = { legacy: true, ipVersion: false, interfaceKeys: [], routeKeys: oldRoute }
const lists: ResultShape = { legacy: false, ipVersion: true, interfaceKeys: oldInterface, routeKeys: oldRoute }

const shapes = {
  '0.1.0': legacy,
  '0.2.0': legacy,
  '0.3.0': lists,
  '0.3.1': lists,
  '0.4.0': lists,
  '1.0.0': { ...lists, ipVersion: false },
  '1.1.0': {
    legacy: false,
    ipVersion: false,
    interfaceKeys: ['name', 'mac', 'mtu', 'sandbox', 'socketPath', 'pciID'],
    routeKeys: ['dst', 'gw', 'mtu', 'advmss', 'priority', 'table', 'scope'],
  },
} as const satisfies Record<string, ResultShape>

export type CniVersion = keyof typeof shapes

export const cniVersions = Object.keys(shapes) as CniVersion[]
export const newestVersion: CniVersion = '1.1.0'

/** The first version in which a command exists; before it the command is refused with code 1. */
export const commandSince: Readonly<Record<string, CniVersion>> = { CHECK: '0.4.0', STATUS: '1.1.0', GC: '1.1.0' }

export function shapeOf(version: CniVersion): ResultShape {
  return shapes[version]
}

export function isAtLeast(version: CniVersion, other: CniVersion): boolean {
  return cniVersions.indexOf(version) >= cniVersions.indexOf(other)
}

/** A configuration without a version is one of 0.1.0. Fails with incompatible-cni-version. */
export function checkVersion(version: string): CniVersion {
  const known = cniVersions.find((one) => one === (version || '0.1.0'))
  if (known !== undefined) return known
  throw new HeddleError('incompatible-cni-version', `cniVersion ${JSON.stringify(version.slice(0, 40))} is not supported`, {
    field: 'cniVersion',
    remedy: `use one of ${cniVersions.join(', ')}`,
  })
}
