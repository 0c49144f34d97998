/** Names are checked here before they become a subject, a key, an interface or a path. */
import { hash, randomBytes } from 'node:crypto'
import { invalid } from './errors.ts'

const networkName = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/
const hostName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/
const containerId = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/

/** CNI and Docker both allow `[a-zA-Z0-9][a-zA-Z0-9_.-]*`; we add a length of 63. */
export function checkNetworkName(name: string, field = 'name'): string {
  if (!networkName.test(name))
    throw invalid(field, `network name ${quote(name)} is not valid`, 'use 1 to 63 letters, digits, "_", "." or "-", beginning with a letter or digit')
  return name
}

/** One token of a NATS subject: no dots. */
export function checkHostName(name: string, field = 'host'): string {
  if (!hostName.test(name))
    throw invalid(field, `host name ${quote(name)} is not valid`, 'use 1 to 63 letters, digits, "_" or "-", beginning with a letter or digit')
  return name
}

export function checkContainerId(id: string, field = 'containerId'): string {
  if (!containerId.test(id))
    throw invalid(field, `container id ${quote(id)} is not valid`, 'use 1 to 128 letters, digits, "_", "." or "-", beginning with a letter or digit')
  return id
}

/** Linux dev_valid_name (net/core/dev.c): 1 to 15 bytes, not "." or "..", no "/", ":" or white space. "%" would make it a template. */
export function checkInterfaceName(name: string, field = 'interfaceName'): string {
  if (Buffer.byteLength(name) === 0 || Buffer.byteLength(name) > 15 || name === '.' || name === '..' || /[/:%\s\0]/.test(name)) {
    throw invalid(field, `interface name ${quote(name)} is not valid`, 'use 1 to 15 bytes without "/", ":", "%" or white space')
  }
  return name
}

/** Opaque ids of other systems (Docker's NetworkID, EndpointID): printable, bounded, safe in a key. */
export function checkOpaqueId(id: string, field: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/.test(id))
    throw invalid(field, `${field} ${quote(id)} is not valid`, 'use 1 to 128 letters, digits, "_", ".", ":" or "-"')
  return id
}

/** 32 hex digits from what identifies a thing: the same parts, the same id. */
export function hashId(...parts: readonly string[]): string {
  return hash('sha256', parts.join('\0'), 'hex').slice(0, 32)
}

/**
 * Owner of a claim that Docker's swarm holds, from the request of its manager to the release by it; the nodes' endpoints use
 * the address without a claim of their own. No sweep frees it: a task that waits for its image, and a service's virtual
 * address, have no endpoint.
 */
export function swarmOwner(poolId: string, address: string): string {
  return `${swarmPrefix}${hashId('swarm', poolId, address)}`
}

export function isSwarmOwner(owner: string): boolean {
  return owner.startsWith(swarmPrefix)
}

const swarmPrefix = 'swarm:'

/** 32 random hex digits. */
export function randomId(): string {
  return randomBytes(16).toString('hex')
}

/** A locally administered unicast MAC (IEEE 802: bit 1 of the first octet) derived from an id. */
export function macOf(id: string): string {
  const bytes = hash('sha256', `mac\0${id}`, 'buffer').subarray(0, 6)
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name)
}
