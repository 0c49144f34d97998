/**
 * A link moved to another namespace and settled there, in one request. do_setlink (net/core/rtnetlink.c) goes in the order
 * namespace, MAC, MTU, name, alias, flags, and gives the new name with the move only when the old one is taken over there. So a
 * request can be refused when the link is on the other side already, under either name. Invariant: a move that is refused
 * leaves the link where it was, as it was.
 */
import { RTM_DELLINKPROP, RTM_NEWLINKPROP } from '../rtnl/constants.ts'
import { changeAltName, getLink, setLink } from '../rtnl/link-build.ts'
import { readAltNames, readLink } from '../rtnl/link-parse.ts'
import type { LinkInfo, MoveLink } from '../types.ts'
import { Refused } from './failures.ts'
import type { Netns, Open } from './namespaces.ts'

interface Place {
  readonly from: Netns
  readonly to: Netns
  readonly before: LinkInfo
  /** Whether its old name is another link's in `to`. */
  readonly oldNameTaken: boolean
}

export function moveLink(open: Open, step: MoveLink): void {
  const from = open(step.ns)
  const to = open(step.to)
  const found = from.route.get(
    (writer, sequence) => getLink(writer, sequence, step.name),
    (reader, message) => ({ link: readLink(reader, message), altNames: readAltNames(reader, message) }),
  )
  if (found === undefined) throw new Refused('ENODEV', `there is no interface ${step.name}`)
  const before = found.link
  const name = step.rename ?? before.name
  // Asked first, because the kernel may look only once the link is there. What comes between is undone.
  if (from.inode !== to.inode && to.route.has(name)) throw new Refused('EEXIST', '')
  const place: Place = { from, to, before, oldNameTaken: to.route.has(before.name) }
  // udev gives a renamed link its old name as an altname, and the kernel finds a link's own altname in the way of its name.
  const altName = found.altNames.includes(name)
  if (altName) from.route.request((writer, sequence) => changeAltName(writer, sequence, RTM_DELLINKPROP, before.index, name))
  try {
    const { mac, mtu, alias, up } = step
    const rename = step.rename === undefined ? {} : { name }
    from.route.request((writer, sequence) => setLink(writer, sequence, { index: before.index, ...rename, mac, mtu, alias, up, namespaceFd: to.fd }))
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    try {
      undo(place, step)
      const index = from.route.indexOf(before.name)
      if (altName) from.route.request((writer, sequence) => changeAltName(writer, sequence, RTM_NEWLINKPROP, index, name))
    } catch (second) {
      throw new Refused(error.errno, `${error.text}; what was done of it could not be undone: ${(second as Error).message}`)
    }
    throw error
  }
}

function undo(place: Place, step: MoveLink): void {
  const { from, to, before } = place
  const elsewhere = from.inode !== to.inode
  if (elsewhere && from.route.indexOf(before.name) === before.index) return
  const settings = {
    name: before.name,
    mac: step.mac === undefined ? undefined : before.mac,
    mtu: step.mtu === undefined ? undefined : before.mtu,
    alias: step.alias === undefined ? undefined : before.alias,
    up: before.up,
  }
  const index = elsewhere ? findMoved(place, step) : before.index
  to.route.request((writer, sequence) => setLink(writer, sequence, { index, ...settings, namespaceFd: from.fd }))
}

/** Its index over there, which may be a new one. A card can take a VF away in the middle of it: never another's link. */
function findMoved({ to, before, oldNameTaken }: Place, step: MoveLink): number {
  const macs = [before.mac, step.mac?.toLowerCase()]
  for (const name of oldNameTaken ? [step.rename] : [before.name, step.rename]) {
    const link = name === undefined ? undefined : to.route.get((writer, sequence) => getLink(writer, sequence, name), readLink)
    if (link?.kind === before.kind && link.parentDevice === before.parentDevice && macs.includes(link.mac)) return link.index
  }
  throw new Refused('ENODEV', `there is no interface ${before.name} any more`)
}
