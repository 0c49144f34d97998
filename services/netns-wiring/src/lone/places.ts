/** Where a link with a mark of this host is. Nothing is remembered: each answer is a look at the kernel. */
import type { Call } from '@heddle/core'
import type { LinkInfo, Namespace } from '@heddle/kernel'
import { type Mark, parseMark } from '../domain/marks.ts'
import type { HostContext } from '../host-context.ts'

export interface Place {
  readonly ns: Namespace
  readonly link: LinkInfo
  readonly mark: Mark
  /** Links that stand on it in its namespace. */
  readonly above: readonly LinkInfo[]
}

export class Places {
  readonly #context: HostContext
  readonly #namespaces: () => Promise<string[]>

  /** `namespaces`: paths of every namespace but the process's own. */
  constructor(context: HostContext, namespaces: () => Promise<string[]>) {
    this.#context = context
    this.#namespaces = namespaces
  }

  get host(): bigint {
    const { kernel, hostNs } = this.#context
    return kernel.namespaceInode(hostNs === 'own' ? '/proc/self/ns/net' : hostNs.path) ?? 0n
  }

  /** Every one in a namespace; none when that has ended. */
  async in(ns: Namespace, call: Call): Promise<Place[]> {
    const links = await this.#links(ns, call)
    return links.flatMap((link) => this.of(ns, link, links) ?? [])
  }

  /** One link by its name, if it bears a mark of this host. */
  async at(ns: Namespace, name: string, call: Call): Promise<Place | undefined> {
    const { kernel } = this.#context
    if (ns !== 'own' && kernel.namespaceInode(ns.path) === undefined) return undefined
    const link = await kernel.link(ns, name, call)
    return link === undefined ? undefined : this.of(ns, link)
  }

  /** The link of an endpoint: in these namespaces, or, when `everywhere`, in whichever it is. */
  async find(endpointId: string, namespaces: readonly Namespace[], everywhere: boolean, call: Call): Promise<Place | undefined> {
    for (const ns of new Set(namespaces)) {
      const found = (await this.in(ns, call)).find(({ mark }) => mark.endpointId === endpointId)
      if (found !== undefined) return found
    }
    return everywhere ? (await this.all(call)).find(({ mark }) => mark.endpointId === endpointId) : undefined
  }

  async all(call: Call): Promise<Place[]> {
    const { host } = this
    const { kernel, hostNs } = this.#context
    const found = await this.in(hostNs, call)
    for (const path of await this.#namespaces()) if (kernel.namespaceInode(path) !== host) found.push(...(await this.in({ path }, call)))
    return found
  }

  /** A link as it was read, if it bears a mark of this host; `links`: all of its namespace. */
  of(ns: Namespace, link: LinkInfo, links: readonly LinkInfo[] = []): Place | undefined {
    const mark = parseMark(link.alias)
    if (mark === undefined || mark.host !== this.host) return undefined
    const above = links.filter(({ kind, peerIndex, peerElsewhere }) => kind !== '' && kind !== 'veth' && peerIndex === link.index && !peerElsewhere)
    return { ns, link, mark, above }
  }

  /** A namespace may end between two looks; any other failure does not mean that nothing is there. */
  async #links(ns: Namespace, call: Call): Promise<readonly LinkInfo[]> {
    const { kernel } = this.#context
    const isGone = () => ns !== 'own' && kernel.namespaceInode(ns.path) === undefined
    if (isGone()) return []
    try {
      return await kernel.links(ns, call)
    } catch (error) {
      if (isGone()) return []
      throw error
    }
  }
}
