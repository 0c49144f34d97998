/** Where a VF's netdev is when it is not in the host's namespace. */
import type { Call } from '@heddle/core'
import type { LinkInfo } from '@heddle/kernel'
import { parseEndpointAlias } from '../domain/names.ts'
import type { HostContext } from '../host-context.ts'
import { isOf } from './cards.ts'

export interface Place {
  /** Path of the namespace. */
  readonly namespace: string
  readonly link: LinkInfo
  /** Links that stand on it: VLAN subinterfaces and the like would go on sending by it from wherever they are. */
  readonly above: readonly LinkInfo[]
}

export class Whereabouts {
  readonly #context: HostContext
  readonly #namespaces: () => Promise<string[]>

  constructor(context: HostContext, namespaces: () => Promise<string[]>) {
    this.#context = context
    this.#namespaces = namespaces
  }

  /** In one namespace; undefined when it is not there, or the namespace is gone. Where no parent is told, the mark of `endpointId` tells. */
  async inside(namespace: string, pci: string, call: Call, endpointId?: string): Promise<Place | undefined> {
    return placeAmong(await this.#links(namespace, call), namespace, pci, endpointId)
  }

  /** In one namespace, by the endpoint's mark. */
  async of(namespace: string, endpointId: string, call: Call): Promise<LinkInfo | undefined> {
    const links = await this.#links(namespace, call)
    return links.find(({ alias, parentDevice }) => parentDevice !== '' && parseEndpointAlias(alias)?.endpointId === endpointId)
  }

  async anywhere(pci: string, call: Call): Promise<Place | undefined> {
    return (await this.all(new Set([pci]), call)).get(pci)
  }

  /** Each of them in whichever namespace it is, by address: every namespace is looked at once at most. */
  async all(pcis: ReadonlySet<string>, call: Call): Promise<ReadonlyMap<string, Place>> {
    const found = new Map<string, Place>()
    if (pcis.size === 0) return found
    for (const namespace of await this.#namespaces()) {
      if (found.size === pcis.size) break
      // One that cannot be looked into keeps none of the others back.
      const links = await this.#links(namespace, call).catch((error: unknown): readonly LinkInfo[] => {
        if (call.signal.aborted) throw error
        return []
      })
      for (const link of links) if (link.kind === '' && pcis.has(link.parentDevice)) found.set(link.parentDevice, placeOf(namespace, link, links))
    }
    return found
  }

  /** A namespace may end between two looks; any other failure does not mean that nothing is there. */
  async #links(namespace: string, call: Call): Promise<readonly LinkInfo[]> {
    const { kernel } = this.#context
    if (namespace === '' || kernel.namespaceInode(namespace) === undefined) return []
    try {
      return await kernel.links({ path: namespace }, call)
    } catch (error) {
      if (kernel.namespaceInode(namespace) === undefined) return []
      throw error
    }
  }
}

/** As `inside`, from all links of the namespace. */
export function placeAmong(links: readonly LinkInfo[], namespace: string, pci: string, endpointId?: string): Place | undefined {
  const link =
    links.find((one) => one.kind === '' && one.parentDevice === pci) ??
    links.find((one) => endpointId !== undefined && parseEndpointAlias(one.alias)?.endpointId === endpointId && isOf(one, pci))
  return link === undefined ? undefined : placeOf(namespace, link, links)
}

function placeOf(namespace: string, link: LinkInfo, links: readonly LinkInfo[]): Place {
  return {
    namespace,
    link,
    above: links.filter(({ peerIndex, kind, peerElsewhere }) => kind !== '' && kind !== 'veth' && peerIndex === link.index && !peerElsewhere),
  }
}
