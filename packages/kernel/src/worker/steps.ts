/** One function a kind of step. Each throws Refused, SystemCallFailure, NamespaceGone or InvalidValue. */
import { writeFileSync } from 'node:fs'
import { announcementFrames } from '../announce/frames.ts'
import { addRoute, deleteAddress, deleteRoute, replaceAddress, replaceRoute } from '../rtnl/address.ts'
import { deleteLink, type LinkKind, type LinkSettings, newLink, setBridgePort, setLink } from '../rtnl/link-build.ts'
import { InvalidValue, type MessageWriter } from '../rtnl/wire.ts'
import type { AddBridge, AddIpvlan, AddMacvlan, AddVeth, AddVlan, AddVxlan, Namespace, Operation, SetLink } from '../types.ts'
import { sendFrames } from './announce.ts'
import { type EntryStep, runEntries } from './entries.ts'
import { Refused } from './failures.ts'
import { moveLink } from './moves.ts'
import type { Netns, Open } from './namespaces.ts'
import { changeVf } from './vfs.ts'

interface OnLink {
  readonly ns: Namespace
  readonly name: string
}

type Runners = { readonly [Name in Operation['op']]: (open: Open, step: Extract<Operation, { op: Name }>) => void }

const runners: Runners = {
  'veth.add': addVeth,
  'bridge.add': addBridge,
  'vxlan.add': addVxlan,
  'link.set': changeLink,
  'link.move': moveLink,
  'macvlan.add': (open, step) => addUpper(open, step, { kind: 'macvlan', mode: step.mode }),
  'ipvlan.add': (open, step) => addUpper(open, step, { kind: 'ipvlan', mode: step.mode }),
  'vlan.add': (open, step) => addUpper(open, step, { kind: 'vlan', vlan: step.vlan, protocol: step.protocol }),
  'vf.set': (open, step) => changeVf(open(step.ns).route, indexOf(open, step), step),
  'bridge.port': (open, step) => onLink(open, step, (...at) => setBridgePort(...at, step)),
  'address.replace': (open, step) => onLink(open, step, (...at) => replaceAddress(...at, step.address)),
  'address.delete': (open, step) => onLink(open, step, (...at) => deleteAddress(...at, step.address)),
  'route.replace': (open, step) => onLink(open, step, (...at) => replaceRoute(...at, step)),
  'route.add': (open, step) => onLink(open, step, (...at) => addRoute(...at, step)),
  'route.delete': (open, step) => onLink(open, step, (...at) => deleteRoute(...at, step.destination, step.gateway)),
  'neighbour.replace': runEntry,
  'neighbour.delete': runEntry,
  'fdb.vxlan.replace': runEntry,
  'fdb.vxlan.delete': runEntry,
  'fdb.bridge.replace': runEntry,
  'fdb.bridge.delete': runEntry,
  sysctl: (open, step) => writeSysctl(open, step.ns, step.path, step.value),
  announce: (open, step) => sendFrames(open(step.ns), indexOf(open, step), announcementFrames(step.mac, step.addresses)),
}

export function runStep(open: Open, step: Operation): void {
  const runner = runners[step.op] as ((open: Open, step: Operation) => void) | undefined
  if (runner === undefined) throw new InvalidValue('op', `${JSON.stringify(step.op)} is no operation`)
  runner(open, step)
}

/** A request that names its link by index. */
function onLink(open: Open, step: OnLink, build: (writer: MessageWriter, sequence: number, index: number) => void): void {
  const index = indexOf(open, step)
  open(step.ns).route.request((writer, sequence) => build(writer, sequence, index))
}

function runEntry(open: Open, step: EntryStep): void {
  runEntries(open, [step], (_, failure) => {
    throw failure
  })
}

/** In one request: both ends made where they stay, ours in its bridge and up. The alias and the peer's "up" cannot be part of it. */
function addVeth(open: Open, step: AddVeth): void {
  const ns = open(step.ns)
  const peerNs = open(step.peer.ns)
  const { peer } = step
  const settings: LinkSettings = {
    name: step.name,
    mac: step.mac,
    mtu: step.mtu,
    masterIndex: masterIndex(open, step.ns, step.master),
    up: step.up || undefined,
  }
  const kind: LinkKind = { kind: 'veth', peer: { name: peer.name, mac: peer.mac, mtu: peer.mtu ?? step.mtu, namespaceFd: peerNs.fd } }
  try {
    ns.route.request((writer, sequence) => newLink(writer, sequence, settings, kind))
  } catch (error) {
    if (!(error instanceof Refused) || error.errno !== 'EEXIST') throw error
    throw new Refused(error.errno, error.text, { end: ns.route.indexOf(step.name) === 0 ? 'peer' : 'link' })
  }
  finish(ns, step.name, () => {
    setAlias(ns, step.name, step.alias)
    if (peer.up === true || peer.alias !== undefined) {
      const index = peerNs.route.indexOf(peer.name)
      peerNs.route.request((writer, sequence) => setLink(writer, sequence, { index, alias: peer.alias, up: peer.up || undefined }))
    }
  })
}

function addBridge(open: Open, step: AddBridge): void {
  const ns = open(step.ns)
  ns.route.request((writer, sequence) =>
    newLink(writer, sequence, { name: step.name, mac: step.mac, mtu: step.mtu, up: step.up || undefined }, { kind: 'bridge' }),
  )
  finish(ns, step.name, () => setAlias(ns, step.name, step.alias))
}

/** The request goes to `socketNs`, whose socket the tunnel keeps; the device appears in `ns` (as `ip link add ... netns` does). */
function addVxlan(open: Open, step: AddVxlan): void {
  const ns = open(step.ns)
  const settings: LinkSettings = {
    name: step.name,
    mac: step.mac,
    mtu: step.mtu,
    masterIndex: masterIndex(open, step.ns, step.master),
    up: step.up || undefined,
    namespaceFd: ns.fd,
  }
  open(step.socketNs).route.request((writer, sequence) =>
    newLink(writer, sequence, settings, { kind: 'vxlan', vni: step.vni, local: step.local, port: step.port }),
  )
  finish(ns, step.name, () => setAlias(ns, step.name, step.alias))
}

/** As a VXLAN device: the request goes to the namespace of the link below. */
function addUpper(open: Open, step: AddMacvlan | AddIpvlan | AddVlan, kind: LinkKind): void {
  const ns = open(step.ns)
  const below = step.linkNs === undefined ? ns : open(step.linkNs)
  const settings: LinkSettings = {
    name: step.name,
    lowerIndex: indexOf(open, { ns: step.linkNs ?? step.ns, name: step.link }),
    mac: step.mac,
    mtu: step.mtu,
    up: step.up || undefined,
    namespaceFd: below === ns ? undefined : ns.fd,
  }
  below.route.request((writer, sequence) => newLink(writer, sequence, settings, kind))
  finish(ns, step.name, () => setAlias(ns, step.name, step.alias))
}

function changeLink(open: Open, step: SetLink): void {
  const settings: LinkSettings = {
    index: indexOf(open, step),
    ...(step.rename === undefined ? {} : { name: step.rename }),
    mac: step.mac,
    mtu: step.mtu,
    alias: step.alias,
    masterIndex: step.master === '' ? 0 : masterIndex(open, step.ns, step.master),
    up: step.up,
  }
  open(step.ns).route.request((writer, sequence) => setLink(writer, sequence, settings))
}

/** Invariant: a step that adds a link leaves the whole link or none. */
function finish(ns: Netns, name: string, rest: () => void): void {
  try {
    rest()
  } catch (error) {
    const index = ns.route.indexOf(name)
    if (index !== 0) ns.route.request((writer, sequence) => deleteLink(writer, sequence, index))
    throw error
  }
}

function setAlias(ns: Netns, name: string, alias: string | undefined): void {
  if (alias !== undefined) ns.route.request((writer, sequence) => setLink(writer, sequence, { name, alias }))
}

function indexOf(open: Open, step: OnLink): number {
  const index = open(step.ns).route.indexOf(step.name)
  if (index === 0) throw new Refused('ENODEV', `there is no interface ${step.name}`)
  return index
}

function masterIndex(open: Open, ns: Namespace, master: string | undefined): number | undefined {
  return master === undefined || master === '' ? undefined : indexOf(open, { ns, name: master })
}

function writeSysctl(open: Open, ns: Namespace, path: string, value: string): void {
  // Any interface name may be part of it: `net@1` is one.
  if (!/^net(\/[^/\s\0]+)+$/.test(path) || path.split('/').some((part) => part === '.' || part === '..'))
    throw new InvalidValue('path', `${JSON.stringify(path)} is no sysctl below net/`)
  try {
    open(ns).inside(() => writeFileSync(`/proc/sys/${path}`, value))
  } catch (error) {
    // Only there while br_netfilter is loaded, and harmless when it is not.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && path.startsWith('net/bridge/bridge-nf-')) return
    throw error
  }
}
