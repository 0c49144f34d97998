/** Notifications: of links in watched namespaces (what a burst says of one link is told once, its last word), and of devices. */

import type { Notice } from '../protocol.ts'
import { NETLINK_KOBJECT_UEVENT, NETLINK_ROUTE, RTMGRP_LINK } from '../rtnl/constants.ts'
import { readLinkNotice } from '../rtnl/link-parse.ts'
import type { DeviceEvent, LinkEvent, Namespace } from '../types.ts'
import { readUevent } from '../uevents/read.ts'
import type { Namespaces, Netns } from './namespaces.ts'
import type { NetlinkSocket } from './netlink-socket.ts'
import type { Poller } from './poller.ts'

/** The kernel's own multicast group; udev repeats what it has handled on the second. */
const kernelUevents = 1
/** What can be a network interface or a device below one. A container that starts makes many other devices' events. */
const watchedSubsystems: ReadonlySet<string> = new Set(['pci', 'net', 'infiniband'])

type Told = { readonly events: readonly Omit<LinkEvent, 'ns'>[] } | { readonly devices: readonly DeviceEvent[] }

export class Watches {
  readonly #namespaces: Namespaces
  readonly #poller: Poller
  readonly #post: (notice: Notice) => void
  readonly #open = new Map<number, { netns: Netns; socket: NetlinkSocket }>()

  constructor(namespaces: Namespaces, poller: Poller, post: (notice: Notice) => void) {
    this.#namespaces = namespaces
    this.#poller = poller
    this.#post = post
  }

  add(watch: number, ns: Namespace): void {
    this.#add(watch, ns, NETLINK_ROUTE, RTMGRP_LINK, readLinks)
  }

  addDevices(watch: number): void {
    this.#add(watch, 'own', NETLINK_KOBJECT_UEVENT, kernelUevents, readDevices)
  }

  #add(watch: number, ns: Namespace, protocol: number, groups: number, read: (socket: NetlinkSocket) => Told | undefined): void {
    const netns = this.#namespaces.open(ns)
    let socket: NetlinkSocket
    try {
      socket = netns.open(protocol, groups)
    } catch (error) {
      netns.close()
      throw error
    }
    this.#open.set(watch, { netns, socket })
    this.#poller.add(socket.fd, () => this.#tell(watch, () => read(socket)))
  }

  remove(watch: number): void {
    const open = this.#open.get(watch)
    if (open === undefined) return
    this.#open.delete(watch)
    this.#poller.remove(open.socket.fd)
    open.socket.close()
    open.netns.close()
  }

  /** Ends the watches of a namespace that is being deleted: an open socket would keep it alive. */
  forget(inode: bigint): void {
    for (const [watch, { netns }] of this.#open) if (netns.inode === inode) this.remove(watch)
  }

  #tell(watch: number, read: () => Told | undefined): void {
    let told: Told | undefined
    try {
      told = read()
    } catch {
      this.#post({ watch, overrun: true })
      return
    }
    if (told !== undefined) this.#post({ watch, ...told })
  }
}

function readLinks(socket: NetlinkSocket): Told | undefined {
  const last = new Map<number, Omit<LinkEvent, 'ns'>>()
  socket.readAvailable((reader, message) => {
    const notice = readLinkNotice(reader, message)
    if (notice !== undefined) last.set(notice.index, notice)
  })
  return last.size > 0 ? { events: [...last.values()] } : undefined
}

function readDevices(socket: NetlinkSocket): Told | undefined {
  const devices: DeviceEvent[] = []
  socket.receiveAvailable((datagram) => {
    const event = readUevent(datagram)
    if (event !== undefined && watchedSubsystems.has(event.subsystem)) devices.push(event)
  })
  return devices.length > 0 ? { devices } : undefined
}
