/**
 * The ifalias of a link that goes into its sandbox whole: nothing on the host tells of it, so whoever finds it in some namespace must see
 * by itself which endpoint it is of, and which host. Of a device of the host it also says how that was before.
 */

/** A device of the host as it was before it was given away. */
export interface DeviceBefore {
  readonly name: string
  readonly mac: string
  readonly mtu: number
  readonly up: boolean
  readonly alias: string
}

export interface Mark {
  /** Inode of the host's network namespace: a machine may have several hosts in namespaces. */
  readonly host: bigint
  readonly endpointId: string
  readonly networkId: string
  readonly device?: DeviceBefore
}

/** linux/if.h IFALIASZ, with the NUL. */
const longestAlias = 255

/** An alias of the device's own that does not fit beside the rest is not kept. */
export function markOf({ host, endpointId, networkId, device }: Mark): string {
  const whole = (before: string) => `heddle-in:${host}:${before}:${endpointId}:${networkId}`
  if (device === undefined) return whole('')
  const { name, mac, mtu, up, alias } = device
  // A name holds neither colon nor slash (dev_valid_name), what is encoded neither.
  const before = `${name}/${mac.replaceAll(':', '')}/${mtu}/${up ? 'up' : 'down'}/`
  const kept = whole(before + encodeURIComponent(alias))
  return Buffer.byteLength(kept) > longestAlias ? whole(before) : kept
}

/** Undefined for any other alias. An endpoint id of a foreign runtime may hold colons, a network id (ours) never does. */
export function parseMark(alias: string): Mark | undefined {
  const [, host = '0', before = '', endpointId = '', networkId = ''] = /^heddle-in:(\d+):([^:]*):(.+):([^:]+)$/.exec(alias) ?? []
  if (endpointId === '') return undefined
  const mark = { host: BigInt(host), endpointId, networkId }
  const [name = '', mac = '', mtu = '', up = '', own = ''] = before.split('/')
  if (name === '') return mark
  const device = { name, mac: (mac.match(/../g) ?? []).join(':'), mtu: Number(mtu), up: up === 'up', alias: decodeURIComponent(own) }
  return { ...mark, device }
}
