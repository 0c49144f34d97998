/**
 * Links of the host that endpoints are made from. A VLAN subinterface that is missing is made, as Docker does, and marked with the
 * networks that use it; with the last of them it goes. One that somebody else has made is used and never removed.
 */
import { type Call, HeddleError, hashId, type KeyedQueue } from '@heddle/core'
import type { LinkInfo, Step } from '@heddle/kernel'
import type { HostContext } from '../host-context.ts'
import { subinterface } from './shape.ts'

export interface Parent {
  readonly name: string
  /** The link, or, where the subinterface is yet to be made, the one below it. */
  readonly link: LinkInfo
  readonly isThere: boolean
  /** Make it, or mark it for one network more. */
  readonly steps: readonly Step[]
}

const prefix = 'heddle-parent:'
/** As many as fit into an alias (linux/if.h IFALIASZ). */
const mostNetworks = 18
const short = (networkId: string) => hashId(networkId).slice(0, 12)
/** Undefined: not ours. */
const usersOf = (alias: string) => (alias.startsWith(prefix) ? alias.slice(prefix.length).split(',') : undefined)
const aliasOf = (users: readonly string[]) => prefix + users.join(',')

export class Parents {
  readonly #context: HostContext
  readonly #queue: KeyedQueue

  /** `queue`: by name of a link; what is read of it and then written is not changed between. */
  constructor(context: HostContext, queue: KeyedQueue) {
    this.#context = context
    this.#queue = queue
  }

  async link(name: string, call: Call): Promise<LinkInfo | undefined> {
    return this.#context.kernel.link(this.#context.hostNs, name, call)
  }

  /** Reads only. `mayMake`: a missing subinterface is made. Throws device-unknown, unsupported. */
  async find(name: string, networkId: string, mayMake: boolean, call: Call): Promise<Parent> {
    const { hostNs: ns } = this.#context
    const link = await this.link(name, call)
    if (link !== undefined) {
      const users = usersOf(link.alias)
      const isNew = users !== undefined && !users.includes(short(networkId))
      if (isNew && users.length >= mostNetworks) {
        throw new HeddleError('unsupported', `${users.length} networks stand on ${name}, which Heddle has made`, {
          field: 'network.parent.name',
          remedy: 'make the subinterface yourself: then any number of networks may use it',
          details: { device: name },
        })
      }
      const steps: Step[] = isNew ? [{ op: 'link.set', ns, name, alias: aliasOf([...users, short(networkId)]) }] : []
      return { name, link, isThere: true, steps }
    }
    const sub = mayMake ? subinterface(name) : undefined
    const below = sub === undefined ? undefined : await this.link(sub.base, call)
    if (sub === undefined || below === undefined) throw this.#unknown(name, sub?.base ?? name)
    const make: Step = { op: 'vlan.add', ns, name, link: sub.base, vlan: sub.vlan, up: true, alias: aliasOf([short(networkId)]) }
    return { name, link: below, isThere: false, steps: [make] }
  }

  /** A network needs its parent no more. */
  async release(networkId: string, call: Call): Promise<void> {
    for (const { name } of await this.own(call)) await this.#queue.run(name, () => this.#keepOne(name, (user) => user !== short(networkId), call))
  }

  /** Names of those that a network which is none of these uses. */
  async unused(networkIds: ReadonlySet<string>, call: Call): Promise<string[]> {
    const known = new Set([...networkIds].map(short))
    return (await this.own(call)).filter(({ alias }) => usersOf(alias)?.some((user) => !known.has(user))).map(({ name }) => name)
  }

  /** One of them is left to those of its users that are among these networks. */
  async verify(name: string, networkIds: ReadonlySet<string>, call: Call): Promise<void> {
    const known = new Set([...networkIds].map(short))
    await this.#queue.run(name, () => this.#keepOne(name, (user) => known.has(user), call))
  }

  /** Subinterfaces that Heddle has made. */
  async own(call: Call): Promise<readonly LinkInfo[]> {
    const { kernel, hostNs } = this.#context
    return (await kernel.links(hostNs, call)).filter(({ alias }) => usersOf(alias) !== undefined)
  }

  /** What `find` has had made for a network of which nothing came to stand on it. Inside its turn of the queue. */
  async undo({ name, steps }: Parent, networkId: string, call: Call): Promise<void> {
    if (steps.length > 0) await this.#keepOne(name, (user) => user !== short(networkId), call)
  }

  async #keepOne(name: string, stays: (user: string) => boolean, call: Call): Promise<void> {
    const { kernel, hostNs: ns, logger } = this.#context
    const links = await kernel.links(ns, call)
    const link = links.find((one) => one.name === name)
    const users = usersOf(link?.alias ?? '')
    if (link === undefined || users === undefined || users.every(stays)) return
    const left = users.filter(stays)
    // Somebody else of the host has built on it: then it is his.
    const above = links.find(({ kind, peerIndex, peerElsewhere }) => kind !== '' && kind !== 'veth' && peerIndex === link.index && !peerElsewhere)
    if (left.length > 0 || above !== undefined) {
      await kernel.run([{ op: 'link.set', ns, name, alias: left.length > 0 ? aliasOf(left) : '' }], call)
      return
    }
    logger.info({ link: name }, 'removing a VLAN subinterface that no network uses any more')
    await kernel.removeLink(ns, name, call)
  }

  #unknown(name: string, missing: string): HeddleError {
    return new HeddleError('device-unknown', `host ${this.#context.host} has no link ${missing}${missing === name ? '' : `, on which ${name} would stand`}`, {
      field: 'network.parent.name',
      remedy: 'see "ip link" for the links of the host; the name of a parent is the same on every host of the network',
      details: { device: missing, host: this.#context.host },
    })
  }
}
