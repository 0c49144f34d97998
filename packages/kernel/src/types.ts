/**
 * The kernel as its users see it: programs of typed operations, dumps, deletions in groups, notifications, nftables.
 * Mechanism only: what should be there is decided by netns-wiring.
 */
import type { Call } from '@heddle/core'

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
  | { readonly op: 'route.replace'; readonly ns: Namespace; readonly name: string; readonly destination: string /* a/len */; readonly gateway?: string }
  /** Refused with EEXIST when there is a route to the destination, by whichever link. */
  | { readonly op: 'route.add'; readonly ns: Namespace; readonly name: string; readonly destination: string; readonly gateway?: string }
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

/** A VF as its PF tells of it. A spoofchk or trust that the driver does not tell is absent; of the others the kernel tells 0 or auto. */
export interface VfInfo {
  readonly index: number
  readonly mac: string
  readonly vlan: number
  readonly qos: number
  readonly protocol: '802.1q' | '802.1ad'
  readonly minTxRate?: number
  readonly maxTxRate?: number
  readonly spoofchk?: boolean
  readonly trust?: boolean
  readonly linkState?: VfLinkState
}

/** A link by its name, with `vfs` what it tells of its VFs; without a name every link of the namespace. */
export interface Question {
  readonly ns: Namespace
  readonly name?: string
  readonly vfs?: boolean
}

/** No link: there is none. */
export interface Seen {
  readonly links: readonly LinkInfo[]
  readonly vfs: readonly VfInfo[]
}

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

export interface StepOutcome {
  /** Unix milliseconds with fractions, from the worker. */
  readonly startMs: number
  readonly endMs: number
  /** errno name when it failed and was tolerated. */
  readonly tolerated?: string
}

/** Thrown (as HeddleError `kernel-refused`, `netns-gone` or `interface-exists` by its user) when a step failed. */
export interface KernelRefusal {
  readonly index: number
  readonly errno: string
  /** Extended acknowledgement text of the kernel, may be empty. */
  readonly text: string
}

export interface LinkInfo {
  readonly index: number
  readonly name: string
  readonly alias: string
  readonly mac: string
  readonly mtu: number
  readonly up: boolean
  readonly running: boolean
  /** IFLA_INFO_KIND: veth, bridge, vxlan, ...; empty for a device without one. */
  readonly kind: string
  readonly masterIndex: number
  /** Index of the other end (veth) or lower link, 0 when none. */
  readonly peerIndex: number
  /** True when the other end is in another namespace (IFLA_LINK_NETNSID present). */
  readonly peerElsewhere: boolean
  readonly group: number
  /** Bus address of its device (IFLA_PARENT_DEV_NAME): `0000:3b:02.1` for a VF's netdev; empty for a virtual link. */
  readonly parentDevice: string
  readonly vxlan?: { readonly vni: number; readonly local: string; readonly port: number; readonly learning: boolean }
  /** macvlan, ipvlan and vlan only: `mode` as in UpperMode (empty for a vlan), the VLAN id (0 for the others). */
  readonly upper?: { readonly mode: string; readonly vlan: number }
  readonly port?: {
    readonly learning: boolean
    readonly unicastFlood: boolean
    readonly neighbourSuppress: boolean
    readonly locked: boolean
    readonly isolated: boolean
    readonly guard: boolean
  }
}
export interface AddressInfo {
  readonly linkIndex: number
  /** `address/length`. */
  readonly address: string
}
export interface RouteInfo {
  readonly linkIndex: number
  readonly destination: string
  readonly gateway: string
  readonly protocol: number
}
/**
 * A neighbour, a VXLAN table entry (`address` is the outer destination) or a bridge table entry (`linkIndex` is the port).
 * What devices list of themselves (a port's own MAC, multicast) is left out. `permanent`: put by somebody, not learned.
 */
export interface NeighbourInfo {
  readonly linkIndex: number
  readonly mac: string
  readonly address: string
  readonly table: 'neighbour' | 'vxlan' | 'bridge'
  readonly permanent: boolean
}

export interface LinkEvent {
  readonly kind: 'new' | 'gone'
  readonly ns: Namespace
  readonly index: number
  readonly name: string
}

/** A kobject uevent of a device (NETLINK_KOBJECT_UEVENT): PCI functions, InfiniBand devices, netdevs of the host's namespace. */
export interface DeviceEvent {
  /** add, remove, change, move, bind, unbind. */
  readonly action: string
  /** pci, net or infiniband; events of others are not told. */
  readonly subsystem: string
  /** Below /sys: `/devices/pci0000:00/0000:00:01.0/0000:01:00.0`. */
  readonly path: string
}

/** An element of an nftables set or map; each part is a concatenation component in the set's declared key order. */
export interface NftElement {
  readonly key: readonly NftValue[]
  readonly data?: readonly NftValue[]
}
/** Encoded by its type: `ipv4_addr`, `ipv6_addr`, `inet_service`, `inet_proto`, `ifname`, or a 3-byte VNI as `u24` (`@th,96,24`). */
export interface NftValue {
  readonly type: 'ipv4_addr' | 'ipv6_addr' | 'inet_service' | 'inet_proto' | 'ifname' | 'u24'
  readonly value: string | number
}
export interface NftSet {
  readonly family: 'inet' | 'ip' | 'ip6' | 'bridge' | 'netdev'
  readonly table: string
  readonly set: string
}

export interface Feature {
  readonly name: string
  readonly present: boolean
  readonly detail: string
}

export interface Kernel {
  /**
   * Runs the steps in order on the netlink thread, ends at the first failure that is not tolerated (throws KernelError
   * with the refusal; earlier steps stay). Each step becomes a child span of the call.
   * `fdb.*` and `neighbour.*` steps that stand together leave in one send, 256 at most: when one of them is refused, those
   * after it in the same send are done all the same.
   */
  run(steps: readonly Step[], call: Call): Promise<readonly StepOutcome[]>
  /** Runs steps as `run` does, then reads what is asked, all in one turn of the thread. Throws as `run`, and when a namespace is gone. */
  look(questions: readonly Question[], call: Call, after?: readonly Step[]): Promise<readonly Seen[]>
  /** Deletes a link; resolves when RTM_DELLINK has been seen, long before the kernel's RCU barrier. False when absent. */
  removeLink(ns: Namespace, name: string, call: Call): Promise<boolean>
  links(ns: Namespace, call: Call): Promise<readonly LinkInfo[]>
  /** One link by name, undefined when absent; far cheaper than a dump. */
  link(ns: Namespace, name: string, call: Call): Promise<LinkInfo | undefined>
  addresses(ns: Namespace, call: Call): Promise<readonly AddressInfo[]>
  /** Of one link, by its index: what is read does not grow with the number of links. */
  addressesOf(ns: Namespace, linkIndex: number, call: Call): Promise<readonly AddressInfo[]>
  routes(ns: Namespace, call: Call): Promise<readonly RouteInfo[]>
  /** Neighbours and forwarding entries of one link, or of the namespace. */
  neighbours(ns: Namespace, linkIndex: number | undefined, call: Call): Promise<readonly NeighbourInfo[]>
  /** Makes a namespace and binds it to the path; false when one was there. */
  createNamespace(path: string, call: Call): Promise<boolean>
  deleteNamespace(path: string, call: Call): Promise<void>
  /** Inode of a namespace's nsfs file, undefined when the path is no live network namespace. */
  namespaceInode(path: string): bigint | undefined
  /** The VFs of a PF's netdev (RTM_GETLINK of the one link with RTEXT_FILTER_VF); none when it has none. Throws kernel-refused ENODEV. */
  vfs(ns: Namespace, name: string, call: Call): Promise<readonly VfInfo[]>
  /** Device events of the host until closed; `lost` events call with undefined: look at everything. */
  watchDevices(listener: (event: DeviceEvent | undefined) => void): { close(): void }
  /** Link events of a namespace until closed. */
  watchLinks(ns: Namespace, listener: (event: LinkEvent) => void): { close(): void }
  /** Loads an nftables ruleset text (`nft -f -`) inside a namespace, in one transaction. */
  nftLoad(ns: Namespace, ruleset: string, call: Call): Promise<void>
  /** Adds and removes set elements by netlink, in one transaction. Adding what is there and removing what is not succeed. */
  nftElements(ns: Namespace, set: NftSet, changes: { readonly add?: readonly NftElement[]; readonly remove?: readonly NftElement[] }, call: Call): Promise<void>
  /** Every element of a set. */
  nftList(ns: Namespace, set: NftSet, call: Call): Promise<readonly { readonly key: Uint8Array; readonly data: Uint8Array }[]>
  /** What this kernel has, tried in a throw-away namespace: veth, bridge, vxlan, neigh_suppress, nftables, ... */
  probe(call: Call): Promise<readonly Feature[]>
  close(): Promise<void>
}
