/** The VFs this process has attached, by endpoint and by address. What an earlier process attached is known by its claim. */
import type { VfShape } from './shape.ts'

export class HeldVfs {
  readonly #byEndpoint = new Map<string, VfShape>()
  readonly #byPci = new Map<string, VfShape>()

  get(endpointId: string): VfShape | undefined {
    return this.#byEndpoint.get(endpointId)
  }

  get all(): readonly VfShape[] {
    return [...this.#byEndpoint.values()]
  }

  of(pci: string): VfShape | undefined {
    return this.#byPci.get(pci)
  }

  put(shape: VfShape): void {
    this.delete(shape.id)
    this.#byEndpoint.set(shape.id, shape)
    this.#byPci.set(shape.pci, shape)
  }

  delete(endpointId: string): void {
    const shape = this.#byEndpoint.get(endpointId)
    if (shape === undefined) return
    this.#byEndpoint.delete(endpointId)
    if (this.#byPci.get(shape.pci)?.id === endpointId) this.#byPci.delete(shape.pci)
  }
}
