/**
 * The kernel as its users see it: programs of typed operations, dumps, deletions in groups, notifications, nftables.
 * Mechanism only: what should be there is decided by netns-wiring.
 */
import type { Call } from '@heddle/core'
import type { Namespace, Step, VfLinkState } from './operations.ts'

export * from './operations.ts'

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
  /** Unicast routes of a table; the main one when none is named. */
  routes(ns: Namespace, call: Call, table?: number): Promise<readonly RouteInfo[]>
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
