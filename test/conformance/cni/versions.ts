/** The versions of the CNI specification, and what of it came with which. */

export const cniVersions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const

export type CniVersion = (typeof cniVersions)[number]

export function isKnown(version: unknown): version is CniVersion {
  return cniVersions.includes(version as CniVersion)
}

export function isAtLeast(version: CniVersion, other: CniVersion): boolean {
  return cniVersions.indexOf(version) >= cniVersions.indexOf(other)
}

/** The first version that has the command. */
export const since = { CHECK: '0.4.0', STATUS: '1.1.0', GC: '1.1.0' } as const satisfies Record<string, CniVersion>
