/** Hosts and the addresses of their VTEPs, decided from records read in one transaction. */
import type { Host } from '@heddle/contract'
import { checkHostName, HeddleError, invalid } from '@heddle/core'
import { formatIp, type Ip, parseIp } from '@heddle/net'
import type { Known, Question, Write } from '@heddle/store'
import { keys } from '../keys.ts'
import { type LiveRecord, read, readHost, type VtepRecord, writeHost } from './records.ts'

/** Smallest MTU of IPv4 (RFC 791) and IPv6 (RFC 8200 section 5). */
const minMtu = { 4: 576, 6: 1280 } as const
const maxMtu = 65_535

/** The record with every field checked and in canonical form. Throws invalid-argument. */
export function checkHost(host: Host, now: string): Host {
  const name = checkHostName(host.name, 'host.name')
  const vtep = parseVtep(host.vtep)
  const least = minMtu[vtep.family]
  if (host.underlayMtu < least || host.underlayMtu > maxMtu) {
    throw invalid('host.underlayMtu', `underlay MTU ${host.underlayMtu} is not possible for IPv${vtep.family}`, `use ${least} to ${maxMtu}`)
  }
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(host.epoch))
    throw invalid('host.epoch', 'the epoch is not 1 to 64 letters, digits, "_" or "-"', 'use a random id made at each start')
  if (host.version.length > 64) throw invalid('host.version', 'the version is longer than 64 characters')
  return { name, vtep: formatIp(vtep), underlayMtu: host.underlayMtu, epoch: host.epoch, version: host.version, registeredAt: now, alive: true }
}

/** Registers a host or changes it, and marks it alive. Answers the lease it had, to be revoked. Throws address-taken. */
export function registerHost(host: Host, lease: bigint): Question<bigint | undefined> {
  const hostKey = keys.host(host.name)
  const liveKey = keys.live(host.name)
  const vtepKey = keys.vtep(host.vtep)
  const otherOf = (known: Known) => {
    const record = known.get(vtepKey)
    const holder = record === undefined ? host.name : read<VtepRecord>(record).host
    return holder === host.name ? undefined : holder
  }
  const oldVtepKeyOf = (known: Known) => {
    const record = known.get(hostKey)
    const key = record === undefined ? vtepKey : keys.vtep(readHost(record).vtep)
    return key === vtepKey ? undefined : key
  }
  return {
    keys: (known) => {
      const other = otherOf(known)
      const further = [oldVtepKeyOf(known), other === undefined ? undefined : keys.live(other)]
      return [hostKey, liveKey, vtepKey, ...further.filter((key) => key !== undefined)]
    },
    decide: (known) => {
      const other = otherOf(known)
      if (other !== undefined && known.has(keys.live(other))) throw vtepTaken(host.vtep, other)
      const record = known.get(hostKey)
      const before = record === undefined ? undefined : readHost(record)
      const value = writeHost({ ...host, registeredAt: before?.registeredAt ?? host.registeredAt })
      const write: Write[] = [{ put: liveKey, value: JSON.stringify({ lease: String(lease), epoch: host.epoch } satisfies LiveRecord), lease }]
      if (record?.value !== value) write.push({ put: hostKey, value })
      if (other !== undefined || !known.has(vtepKey)) write.push({ put: vtepKey, value: JSON.stringify({ host: host.name } satisfies VtepRecord) })
      const oldVtepKey = oldVtepKeyOf(known)
      const oldVtep = oldVtepKey === undefined ? undefined : known.get(oldVtepKey)
      if (oldVtepKey !== undefined && oldVtep !== undefined && read<VtepRecord>(oldVtep).host === host.name) write.push({ delete: oldVtepKey })
      const live = known.get(liveKey)
      return { write, result: live === undefined ? undefined : BigInt(read<LiveRecord>(live).lease) }
    },
  }
}

/** Forgets a host. What is not there is forgotten already. */
export function removeHost(name: string): Question<void> {
  const hostKey = keys.host(name)
  const vtepKeyOf = (known: Known) => {
    const record = known.get(hostKey)
    return record === undefined ? undefined : keys.vtep(readHost(record).vtep)
  }
  return {
    keys: (known) => [hostKey, vtepKeyOf(known)].filter((key) => key !== undefined),
    decide: (known) => {
      const vtepKey = vtepKeyOf(known)
      if (vtepKey === undefined) return { write: [], result: undefined }
      const write: Write[] = [{ delete: hostKey }, { delete: keys.live(name) }]
      const vtep = known.get(vtepKey)
      if (vtep !== undefined && read<VtepRecord>(vtep).host === name) write.push({ delete: vtepKey })
      return { write, result: undefined }
    },
  }
}

export function hostUnknown(name: string): HeddleError {
  return new HeddleError('host-unknown', `host ${name} is not registered, or was silent for too long`, { field: 'host', remedy: 'register it again' })
}

export function hostInUse(name: string, networkIds: readonly string[]): HeddleError {
  return new HeddleError(
    'host-in-use',
    `host ${name} has endpoints in ${networkIds.length} network${networkIds.length === 1 ? '' : 's'}: ${networkIds.slice(0, 5).join(', ')}`,
    {
      field: 'name',
      remedy: `stop its containers first; if it is gone for good, use "heddle host rm --force ${name}"`,
    },
  )
}

function parseVtep(text: string): Ip {
  let ip: Ip
  try {
    ip = parseIp(text)
  } catch (error) {
    throw invalid('host.vtep', error instanceof Error ? error.message : String(error), "give the host's address on the network that joins the hosts")
  }
  const unspecified = ip.value === 0n
  // 224.0.0.0/4, 240.0.0.0/4 (with the broadcast address) and ff00::/8.
  const multicast = ip.family === 4 ? ip.value >> 28n >= 14n : ip.value >> 120n === 0xffn
  if (unspecified || multicast)
    throw invalid('host.vtep', `${formatIp(ip)} is not the address of a host`, "give the host's address on the network that joins the hosts")
  return ip
}

function vtepTaken(vtep: string, other: string): HeddleError {
  return new HeddleError('address-taken', `VTEP address ${vtep} belongs to host ${other}, which is alive`, {
    field: 'host.vtep',
    remedy: `give each host its own address and name; if ${other} is this machine under its old name, stop it first`,
    details: { host: other },
  })
}
