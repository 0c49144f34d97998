/** Kind null: a record and addresses, no link. An endpoint is there as long as its sandbox is. */
import type { Attachment, AttachResponse, Endpoint, Network } from '@heddle/contract'
import type { Kernel } from '@heddle/kernel'
import { netnsGone } from './errors.ts'

type Recorded = Pick<Endpoint, 'id' | 'networkId' | 'sandbox'>

export class NullEndpoints {
  readonly #kernel: Kernel
  readonly #held = new Map<string, Recorded>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  async prepare({ id: networkId }: Network, { id, sandbox }: Endpoint): Promise<boolean> {
    if (!this.#isThere(sandbox)) throw netnsGone(sandbox)
    const existed = this.#held.has(id)
    this.#held.set(id, { id, networkId, sandbox })
    return existed
  }

  /** Answers no interface. Throws netns-gone. */
  async attach(network: Network, endpoint: Endpoint): Promise<AttachResponse> {
    await this.prepare(network, endpoint)
    return { interfaceName: '', mac: '', mtu: 0, hostInterface: '', bridge: '', hostMac: '', bridgeMac: '', pci: '', deviceNodes: [] }
  }

  detach(endpointId: string): boolean {
    return this.#held.delete(endpointId)
  }

  async check(_network: Network, { sandbox }: Endpoint): Promise<string[]> {
    return this.#isThere(sandbox) ? [] : [`the sandbox ${sandbox} is gone`]
  }

  /** Nothing in the kernel tells of those of earlier processes. One without a record is forgotten with its sandbox: it may be yet to be recorded. */
  learn(records: readonly Endpoint[]): void {
    const known = new Set(records.map(({ id }) => id))
    for (const { id, sandbox } of this.#held.values()) if (!known.has(id) && !this.#isThere(sandbox)) this.#held.delete(id)
    for (const { id, networkId, networkKind, sandbox } of records) if (networkKind === 'null') this.#held.set(id, { id, networkId, sandbox })
  }

  attachments(): Attachment[] {
    const there = [...this.#held.values()].filter(({ sandbox }) => this.#isThere(sandbox))
    return there.map(({ id: endpointId, networkId, sandbox }) => ({ endpointId, networkId, hostInterface: '', inSandbox: sandbox !== '' }))
  }

  #isThere(sandbox: string): boolean {
    return sandbox === '' || this.#kernel.namespaceInode(sandbox) !== undefined
  }
}
