/** What is asked of the kernel: one request an operation, one program a list of them. */

/** A network namespace: the process's own, or one by the path of its nsfs file. */
export type Namespace = 'own' | { readonly path: string }

/** One kernel request. `name` is always the interface's current name in `ns`. */
export type Operation =
  | AddVeth
  | AddBridge
  | AddVxlan
  | SetLink
  | MoveLink
  | AddMacvlan
  | AddIpvlan
  | AddVlan
  | SetVf
  | SetBridgePort
  | { readonly op: 'address.replace'; readonly ns: Namespace; readonly name: string; readonly address: string /* a/len */ }
  | { readonly op: 'address.delete'; readonly ns: Namespace; readonly name: string; readonly address: string }
  | (PutRoute & { readonly op: 'route.replace' })
  /** Refused with EEXIST when there is a route to the destination, by whichever link. */
  | (PutRoute & { readonly op: 'route.add' })
  | { readonly op: 'route.delete'; readonly ns: Namespace; readonly name: string; readonly destination: string; readonly gateway?: string }
  /** Permanent neighbour: address -> MAC on a link. */
  | { readonly op: 'neighbour.replace'; readonly ns: Namespace; readonly name: string; readonly address: string; readonly mac: string }
  | { readonly op: 'neighbour.delete'; readonly ns: Namespace; readonly name: string; readonly address: string }
  /** VXLAN table entry (`bridge fdb ... self permanent`): MAC -> outer destination address. */
  | { readonly op: 'fdb.vxlan.replace'; readonly ns: Namespace; readonly name: string; readonly mac: string; readonly destination: string }
  | { readonly op: 'fdb.vxlan.delete'; readonly ns: Namespace; readonly name: string; readonly mac: string; readonly destination?: string }
  /** Bridge table entry (`bridge fdb ... master static`): MAC -> the port `name`. */
  | { readonly op: 'fdb.bridge.replace'; readonly ns: Namespace; readonly name: string; readonly mac: string }
  | { readonly op: 'fdb.bridge.delete'; readonly ns: Namespace; readonly name: string; readonly mac: string }
  /** `net.ipv4.conf.all.forwarding` as path below /proc/sys with slashes, written from a thread inside `ns`. */
  | { readonly op: 'sysctl'; readonly ns: Namespace; readonly path: string; readonly value: string }
  /**
   * Frames leave by `name`, with `mac` as source. In a namespace that is not resident the kernel takes 14 ms to close the
   * packet socket, on the main thread's pool: better announced from the bridge than from inside the sandbox.
   * Gratuitous ARP (RFC 5227 announcement) and unsolicited neighbour advertisement (RFC 4861 7.2.6) for each address.
   */
  | { readonly op: 'announce'; readonly ns: Namespace; readonly name: string; readonly mac: string; readonly addresses: readonly string[] }

export interface PutRoute {
  readonly ns: Namespace
  readonly name: string
  /** `address/length`. */
  readonly destination: string
  readonly gateway?: string
  /** RTAX_MTU and RTAX_ADVMSS, bytes. */
  readonly mtu?: number | undefined
  readonly advmss?: number | undefined
  /** RTA_PRIORITY. */
  readonly priority?: number | undefined
  /** RTA_TABLE; absent: main. */
  readonly table?: number | undefined
  /** rtm_scope; absent: link without a gateway, else global. */
  readonly scope?: number | undefined
}

/** Both ends are created in their final namespaces by one RTM_NEWLINK (peer attributes carry IFLA_NET_NS_FD). */
export interface AddVeth {
  readonly op: 'veth.add'
  readonly ns: Namespace
  readonly name: string
  readonly mac?: string
  readonly mtu?: number
  /** ifalias: how a freshly started process recognises what is ours. Set in a following request inside this operation. */
  readonly alias?: string
  /** Bridge in `ns` it becomes a port of. */
  readonly master?: string
  readonly up?: boolean
  readonly peer: { readonly ns: Namespace; readonly name: string; readonly mac?: string; readonly mtu?: number; readonly alias?: string; readonly up?: boolean }
}

/** stp off, multicast snooping off. */
export interface AddBridge {
  readonly op: 'bridge.add'
  readonly ns: Namespace
  readonly name: string
  readonly mac?: string
  readonly mtu?: number
  readonly alias?: string
  readonly up?: boolean
}

/** nolearning, no proxy, no l2miss/l3miss; the UDP socket stays in `socketNs`, the device is made in `ns`. */
export interface AddVxlan {
  readonly op: 'vxlan.add'
  readonly ns: Namespace
  readonly socketNs: Namespace
  readonly name: string
  readonly vni: number
  readonly local: string
  readonly port: number
  readonly mac?: string
  readonly mtu?: number
  readonly alias?: string
  readonly master?: string
  readonly up?: boolean
}

export interface SetLink {
  readonly op: 'link.set'
  readonly ns: Namespace
  readonly name: string
  readonly up?: boolean
  readonly mtu?: number
  readonly mac?: string
  readonly alias?: string
  /** Empty: leave its bridge. */
  readonly master?: string
  readonly rename?: string
}

/**
 * Moves a link to another namespace and settles it there, in one RTM_SETLINK. A move flushes addresses and sets the link down. Whole or
 * not at all: after a refusal the link is where and as it was, but without its addresses. An altname of its own that is the new name is
 * removed; another's name (or altname) there is `interface-exists`. An empty alias removes it.
 */
export interface MoveLink {
  readonly op: 'link.move'
  readonly ns: Namespace
  readonly name: string
  readonly to: Namespace
  readonly rename?: string
  readonly mac?: string
  readonly mtu?: number
  readonly alias?: string
  readonly up?: boolean
}

/**
 * A link that stands on `link`. Made where it stays by one RTM_NEWLINK, which is sent from the namespace of the link below (IFLA_LINK is
 * an index there) and names the other one (IFLA_NET_NS_FD). Without `mtu` it has that of the link below.
 */
interface AddUpper {
  readonly ns: Namespace
  readonly name: string
  readonly link: string
  /** Where `link` is; absent: in `ns`. */
  readonly linkNs?: Namespace
  readonly mac?: string
  readonly mtu?: number
  /** Set in a following request inside this operation. */
  readonly alias?: string
  readonly up?: boolean
}

export type UpperMode<Kind extends 'macvlan' | 'ipvlan'> = Kind extends 'macvlan' ? 'bridge' | 'private' | 'vepa' | 'passthru' : 'l2' | 'l3' | 'l3s'

/** passthru: the only one on its link, whose MAC it has; EINVAL where there is another. */
export interface AddMacvlan extends AddUpper {
  readonly op: 'macvlan.add'
  readonly mode: UpperMode<'macvlan'>
}

/** Has the MAC of its link. The mode is one of all ipvlans of a link: the last one made sets it. */
export interface AddIpvlan extends AddUpper {
  readonly op: 'ipvlan.add'
  readonly mode: UpperMode<'ipvlan'>
}

/** A VLAN subinterface. EEXIST when its link has one of this id, wherever that is. */
export interface AddVlan extends AddUpper {
  readonly op: 'vlan.add'
  /** 1 to 4094. */
  readonly vlan: number
  readonly protocol?: '802.1q' | '802.1ad'
}

/**
 * Settings of one VF by its PF's netdev `name` (IFLA_VFINFO_LIST, linux/if_link.h): what is given, in one request. A driver
 * that refuses one of them has taken those before it in this order: mac, vlan, rate, spoofchk, linkState, trust. The refusal
 * names it (`details.setting`); it is `unsupported` when the driver does not have it (EOPNOTSUPP, EPROTONOSUPPORT).
 */
export interface SetVf {
  readonly op: 'vf.set'
  readonly ns: Namespace
  readonly name: string
  readonly vf: number
  readonly mac?: string
  readonly vlan?: { readonly id: number; readonly qos: number; readonly protocol: '802.1q' | '802.1ad' }
  /** Mbit/s, 0: no limit. */
  readonly rate?: { readonly min: number; readonly max: number }
  readonly spoofchk?: boolean
  readonly trust?: boolean
  readonly linkState?: VfLinkState
}

export type VfLinkState = 'auto' | 'enable' | 'disable'

/** IFLA_BRPORT_*; absent: unchanged. */
export interface SetBridgePort {
  readonly op: 'bridge.port'
  readonly ns: Namespace
  readonly name: string
  readonly learning?: boolean
  readonly unicastFlood?: boolean
  readonly multicastFlood?: boolean
  readonly broadcastFlood?: boolean
  readonly neighbourSuppress?: boolean
  readonly isolated?: boolean
  readonly locked?: boolean
  readonly guard?: boolean
  readonly hairpin?: boolean
}

/** An operation that may fail without ending the program. */
export interface Tolerant {
  /** errno names taken as success, e.g. EEXIST on add, ENOENT on delete. */
  readonly tolerate?: readonly string[]
}

export type Step = Operation & Tolerant
