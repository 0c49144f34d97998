/**
 * Network namespaces on the netlink thread. setns moves the calling thread only; every entry is left again before
 * anything else runs, and a thread that cannot leave ends the process. A resident namespace keeps its socket open;
 * others are opened for one request, because an open socket keeps a namespace (and its links) alive.
 */
import { closeSync, fstatSync, openSync, statSync } from 'node:fs'
import { NETLINK_ROUTE } from '../rtnl/constants.ts'
import type { Namespace } from '../types.ts'
import { NamespaceGone } from './failures.ts'
import * as libc from './libc.ts'
import { NetlinkSocket } from './netlink-socket.ts'

/** An open namespace. */
export class Netns {
  readonly path: string
  readonly fd: number
  readonly inode: bigint
  readonly #home: number | undefined
  #socket: NetlinkSocket | undefined
  #packetSocket: number | undefined

  constructor(path: string, fd: number, inode: bigint, home: number | undefined) {
    this.path = path
    this.fd = fd
    this.inode = inode
    this.#home = home
  }

  /** Its rtnetlink socket for requests. */
  get route(): NetlinkSocket {
    this.#socket ??= this.open(NETLINK_ROUTE)
    return this.#socket
  }

  /** For frames to be sent; of protocol 0, so it receives nothing. */
  get packetSocket(): number {
    this.#packetSocket ??= this.inside(() => libc.socket(libc.AF_PACKET, 0))
    return this.#packetSocket
  }

  /** A socket of its own, which the caller closes. */
  open(protocol: number, groups = 0): NetlinkSocket {
    return this.inside(() => new NetlinkSocket(protocol, groups))
  }

  /** Runs `body`, synchronously, with this thread in the namespace. */
  inside<T>(body: () => T): T {
    const home = this.#home
    if (home === undefined) return body()
    libc.enterNamespace(this.fd)
    try {
      return body()
    } finally {
      returnTo(home)
    }
  }

  close(): void {
    this.#socket?.close()
    if (this.#packetSocket !== undefined) libc.closeElsewhere(this.#packetSocket)
    this.#socket = undefined
    this.#packetSocket = undefined
    closeSync(this.fd)
  }
}

/** Opens a namespace for the length of one request. */
export type Open = (ns: Namespace) => Netns

export class Namespaces {
  readonly #home: Netns
  readonly #own: string | undefined
  readonly #residentPaths: ReadonlySet<string>
  readonly #residents = new Map<string, Netns>()

  /** `own`: path that 'own' stands for, the process's namespace when undefined. */
  constructor(own: string | undefined, residentPaths: readonly string[]) {
    const fd = openSync('/proc/thread-self/ns/net', 'r')
    this.#home = new Netns('own', fd, fstatSync(fd, { bigint: true }).ino, undefined)
    this.#own = own
    this.#residentPaths = new Set(own === undefined ? residentPaths : [...residentPaths, own])
  }

  /** Opens what `body` asks for and closes it afterwards, residents excepted. */
  use<T>(body: (open: Open) => T): T {
    const opened = new Map<string, Netns>()
    try {
      return body((ns) => {
        const path = ns === 'own' ? this.#own : ns.path
        if (path === undefined) return this.#home
        const known = opened.get(path)
        if (known !== undefined) return known
        if (this.#residentPaths.has(path)) return this.#resident(path)
        const fresh = this.open({ path })
        opened.set(path, fresh)
        return fresh
      })
    } finally {
      for (const netns of opened.values()) netns.close()
    }
  }

  /** A namespace the caller closes; never a resident. */
  open(ns: Namespace): Netns {
    const path = ns === 'own' ? (this.#own ?? '/proc/thread-self/ns/net') : ns.path
    let fd: number
    try {
      fd = openSync(path, 'r')
    } catch (error) {
      throw new NamespaceGone(path, `${path} cannot be opened (${(error as NodeJS.ErrnoException).code})`)
    }
    if (!libc.isNetworkNamespace(fd)) {
      closeSync(fd)
      throw new NamespaceGone(path, `${path} is no network namespace: it has ended and only the file is left, or it is another file`)
    }
    return new Netns(path, fd, fstatSync(fd, { bigint: true }).ino, this.#home.fd)
  }

  /** Makes a namespace and calls `body` inside it. */
  make(body: () => void): void {
    libc.unshareNamespace()
    try {
      body()
    } finally {
      returnTo(this.#home.fd)
    }
  }

  /** Lets go of a resident, so that it can end. */
  forget(path: string): void {
    this.#residents.get(path)?.close()
    this.#residents.delete(path)
  }

  #resident(path: string): Netns {
    const known = this.#residents.get(path)
    if (known !== undefined && statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === known.inode) return known
    this.forget(path)
    const fresh = this.open({ path })
    this.#residents.set(path, fresh)
    return fresh
  }
}

function returnTo(home: number): void {
  try {
    libc.enterNamespace(home)
  } catch (error) {
    libc.abortProcess(`heddle: a thread could not leave a network namespace (${String(error)}); ending the process`)
  }
}
