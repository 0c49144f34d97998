/** The VFs this process has attached, by endpoint and by address. What an earlier process attached is known by its claim. */
import type { VirtualFunction } from '@heddle/kernel'
import type { VfShape } from './shape.ts'

export class HeldVfs {
  readonly #byEndpoint = new Map<string, VfShape>()
  readonly #byPci = new Map<string, VfShape>()
  readonly #inodes = new Map<string, bigint>()

  get(endpointId: string): VfShape | undefined {
    return this.#byEndpoint.get(endpointId)
  }

  get all(): readonly VfShape[] {
    return [...this.#byEndpoint.values()]
  }

  of(pci: string): VfShape | undefined {
    return this.#byPci.get(pci)
  }

  put(shape: VfShape, { inode }: VirtualFunction): void {
    this.delete(shape.id)
    this.#inodes.set(shape.id, inode)
    this.#byEndpoint.set(shape.id, shape)
    this.#byPci.set(shape.pci, shape)
  }

  delete(endpointId: string): void {
    const shape = this.#byEndpoint.get(endpointId)
    if (shape === undefined) return
    this.#byEndpoint.delete(endpointId)
    this.#inodes.delete(endpointId)
    if (this.#byPci.get(shape.pci)?.id === endpointId) this.#byPci.delete(shape.pci)
  }

  /** Those that are gone, or were made anew, are nobody's. */
  keep(there: readonly VirtualFunction[]): void {
    const inodes = new Map(there.map(({ pci, inode }) => [pci, inode]))
    for (const { id, pci } of this.all) if (inodes.get(pci) !== this.#inodes.get(id)) this.delete(id)
  }
}
