/**
 * One nftables table of Heddle: loads its ruleset when it is not there, and keeps its elements as desired. What is in the
 * kernel is read once and again at each `verify`; in between it is tracked.
 */
import { type Call, DeltaTracker, KeyedQueue } from '@heddle/core'
import type { Kernel, Namespace, NftElement } from '@heddle/kernel'
import { decodeValues, normalHex, valuesHex } from './domain/nft-bytes.ts'
import type { Ruleset } from './domain/nft-rules.ts'
import { refusalOf } from './errors.ts'

interface Tracked {
  readonly tracker: DeltaTracker<string, NftElement>
  readonly dirty: Set<string>
}

export class NftTable {
  readonly #kernel: Kernel
  readonly #ns: Namespace
  readonly #ruleset: Ruleset
  readonly #sets: ReadonlyMap<string, Tracked>
  readonly #queue = new KeyedQueue()
  #loaded = false

  constructor(kernel: Kernel, ns: Namespace, ruleset: Ruleset) {
    this.#kernel = kernel
    this.#ns = ns
    this.#ruleset = ruleset
    this.#sets = new Map(Object.keys(ruleset.sets).map((name) => [name, { tracker: new DeltaTracker(sameData), dirty: new Set() }]))
  }

  /** Takes effect at the next `flush`. */
  put(set: string, element: NftElement): void {
    const key = valuesHex(element.key)
    this.#of(set).tracker.setDesired(key, element)
    this.#of(set).dirty.add(key)
  }

  drop(set: string, element: NftElement): void {
    const key = valuesHex(element.key)
    this.#of(set).tracker.deleteDesired(key)
    this.#of(set).dirty.add(key)
  }

  desired(set: string, element: NftElement): NftElement | undefined {
    return this.#of(set).tracker.desired.get(valuesHex(element.key))
  }

  /** As last read or written. */
  elements(set: string): NftElement[] {
    return [...this.#of(set).tracker.actual.values()]
  }

  get name(): string {
    return this.#ruleset.table
  }

  /** Elements in the kernel, as last read or written, that nobody asked for. */
  get unwanted(): number {
    return [...this.#sets.values()].reduce((sum, { tracker }) => sum + tracker.changes().remove.length, 0)
  }

  /** Whether the kernel holds the element as of the last read. */
  holds(set: string, element: NftElement): boolean {
    const actual = this.#of(set).tracker.actual.get(valuesHex(element.key))
    return actual !== undefined && sameData(actual, element)
  }

  /** Writes what was put and dropped since the last flush; loads the ruleset first when this process has not seen it. */
  flush(call: Call): Promise<void> {
    return this.#queue.run('', async () => {
      if (!this.#loaded) await this.#load(call)
      for (const [name, { tracker, dirty }] of this.#sets) {
        if (dirty.size === 0) continue
        const keys = [...dirty]
        // Before the wait: what others put meanwhile belongs to the next flush.
        dirty.clear()
        await this.#write(name, tracker, keys, call).catch((error: unknown) => {
          for (const key of keys) dirty.add(key)
          throw error
        })
      }
    })
  }

  /** Reads everything back; writes nothing. */
  refresh(call: Call): Promise<void> {
    return this.#queue.run('', () => this.#read(call))
  }

  /** Reads everything back; loads the ruleset if it is not there. */
  read(call: Call): Promise<void> {
    return this.#queue.run('', () => this.#load(call))
  }

  /** Reads everything back and repairs it. Elements nobody asked for are removed only when `strict`. */
  verify(strict: boolean, call: Call): Promise<void> {
    return this.#queue.run('', async () => {
      await this.#load(call)
      for (const [name, { tracker }] of this.#sets) {
        const { put, remove } = tracker.changes()
        await this.#write(name, tracker, [...put.map(([key]) => key), ...(strict ? remove : [])], call)
      }
    })
  }

  /** Whether exactly this ruleset is in the kernel. */
  async present(call: Call): Promise<boolean> {
    const loaded = await this.#list('loaded', call)
    return loaded?.some(({ key }) => normalHex(key) === valuesHex([{ type: 'ifname', value: this.#ruleset.version }])) ?? false
  }

  async #load(call: Call): Promise<void> {
    if (!(await this.present(call))) await this.#kernel.nftLoad(this.#ns, this.#ruleset.text, call)
    await this.#read(call)
    this.#loaded = true
  }

  async #read(call: Call): Promise<void> {
    for (const [name, { tracker }] of this.#sets) {
      const shape = this.#ruleset.sets[name]
      const found = (await this.#list(name, call)) ?? []
      const decoded = found.map(({ key, data }) => ({
        key: decodeValues(shape?.key ?? [], key),
        ...(shape?.data.length ? { data: decodeValues(shape.data, data) } : {}),
      }))
      tracker.replaceActual(decoded.map((element) => [valuesHex(element.key), element] as const))
    }
  }

  async #write(name: string, { desired, actual }: DeltaTracker<string, NftElement>, keys: readonly string[], call: Call): Promise<void> {
    const add: NftElement[] = []
    const remove: NftElement[] = []
    for (const key of keys) {
      const wanted = desired.get(key)
      const is = actual.get(key)
      if (wanted !== undefined && is !== undefined && sameData(wanted, is)) continue
      // The kernel refuses to change a map element in place.
      if (is !== undefined) remove.push({ key: is.key })
      if (wanted !== undefined) add.push(wanted)
    }
    const set = { family: this.#ruleset.family, table: this.#ruleset.table, set: name }
    const tracker = this.#of(name).tracker
    if (remove.length > 0) await this.#kernel.nftElements(this.#ns, set, { remove }, call)
    for (const { key } of remove) tracker.deleteActual(valuesHex(key))
    if (add.length > 0) await this.#kernel.nftElements(this.#ns, set, { add }, call)
    for (const element of add) tracker.setActual(valuesHex(element.key), element)
  }

  /** Undefined when the table or set is not there. */
  async #list(set: string, call: Call): Promise<readonly { readonly key: Uint8Array; readonly data: Uint8Array }[] | undefined> {
    try {
      return await this.#kernel.nftList(this.#ns, { family: this.#ruleset.family, table: this.#ruleset.table, set }, call)
    } catch (error) {
      if (refusalOf(error)?.errno === 'ENOENT') return undefined
      throw error
    }
  }

  #of(set: string): Tracked {
    const tracked = this.#sets.get(set)
    if (tracked === undefined) throw new RangeError(`table ${this.#ruleset.table} has no set ${set}`)
    return tracked
  }
}

function sameData(a: NftElement, b: NftElement): boolean {
  return valuesHex(a.data ?? []) === valuesHex(b.data ?? [])
}
