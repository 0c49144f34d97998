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
    const { kernel } = this.#context
    if (namespace === '' || kernel.namespaceInode(namespace) === undefined) return undefined
    // A namespace may end between two looks.
    const links = await kernel.links({ path: namespace }, call).catch((): readonly LinkInfo[] => [])
    const link =
      links.find((one) => one.kind === '' && one.parentDevice === pci) ??
      links.find((one) => endpointId !== undefined && parseEndpointAlias(one.alias)?.endpointId === endpointId && isOf(one, pci))
    if (link === undefined) return undefined
    return {
      namespace,
      link,
      above: links.filter(({ peerIndex, kind, peerElsewhere }) => kind !== '' && kind !== 'veth' && peerIndex === link.index && !peerElsewhere),
    }
  }

  /** In every namespace there is. */
  async anywhere(pci: string, call: Call): Promise<Place | undefined> {
    for (const namespace of await this.#namespaces()) {
      const place = await this.inside(namespace, pci, call)
      if (place?.link.parentDevice === pci) return place
    }
    return undefined
  }
}
