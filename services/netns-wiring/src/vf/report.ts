/**
 * Tells vf-allocator what this host has, and keeps its answer: baselines and claims. Without an answer the last one counts;
 * a host without SR-IOV devices says so once and is silent then.
 */
import { busServices, type Pf, type Vf, type VfBaseline, type VfClaim } from '@heddle/contract'
import { type Call, KeyedQueue, randomId, undoCall, withCall } from '@heddle/core'
import { background, type HostContext } from '../host-context.ts'
import type { HeldVfs } from './held.ts'
import { type InventoryReader, type Recorded, type Seen, stateOf, vfMessage } from './inventory.ts'
import type { Quarantine } from './quarantine.ts'

/** Events of one change come together. */
const settleMs = 100
const answerTimeoutMs = 3000
const jobTimeoutMs = 30_000

export class VfReporter {
  /** Of this process: what an earlier one held ends with it. */
  readonly epoch = randomId()
  readonly #context: HostContext
  readonly #reader: InventoryReader
  readonly #quarantine: Quarantine
  readonly #held: HeldVfs
  readonly #queue = new KeyedQueue()
  #answer: ReadonlyMap<string, Vf> | undefined
  #seen: readonly Seen[] = []
  #pfs: readonly Pf[] = []
  #waiting = false
  #failing = false

  constructor(context: HostContext, reader: InventoryReader, quarantine: Quarantine, held: HeldVfs) {
    this.#context = context
    this.#held = held
    this.#reader = reader
    this.#quarantine = quarantine
  }

  /** Whether the host has PFs. */
  get hasDevices(): boolean {
    return this.#pfs.length > 0
  }
  /** Whether vf-allocator has answered since start. */
  get informed(): boolean {
    return this.#answer !== undefined
  }
  get pfs(): readonly Pf[] {
    return this.#pfs
  }
  get seen(): readonly Seen[] {
    return this.#seen
  }

  recorded({ view, generation }: Seen): Recorded {
    const known = this.#answer?.get(view.vf.pci)
    // An endpoint attached since the last answer has a claim that was not in it.
    const claimed = known?.claim !== undefined || this.#held.of(view.vf.pci) !== undefined
    return { baseline: known?.generation === generation ? known.baseline : undefined, claimed }
  }

  baseline(pci: string): VfBaseline | undefined {
    return this.#answer?.get(pci)?.baseline
  }
  claim(pci: string): VfClaim | undefined {
    return this.#answer?.get(pci)?.claim
  }
  /** The claim of an endpoint, with its VF. */
  claimOf(endpointId: string): VfClaim | undefined {
    for (const { claim } of this.#answer?.values() ?? []) if (claim?.owner === endpointId) return claim
    return undefined
  }
  get claims(): readonly VfClaim[] {
    return [...(this.#answer?.values() ?? [])].flatMap(({ claim }) => claim ?? [])
  }

  messages(): Vf[] {
    return this.#seen.map((seen) => vfMessage(this.#context.host, seen, stateOf(seen, this.recorded(seen), this.#quarantine.reason(seen.view.vf))))
  }

  /** Shortly; several wishes become one, and at most one waits while another is read (with 128 VFs being made, or behind RTNL, that takes long). */
  soon(): void {
    if (this.#waiting) return
    this.#waiting = true
    this.#context.clock.after(settleMs, () => {
      this.#context.jobs.once('report VFs', (signal) => background(this.#context, jobTimeoutMs, signal, async (call) => void (await this.tell(call))))
    })
  }

  /** Reads and reports; a silent allocator is no failure. False when it did not answer. */
  async tell(call: Call): Promise<boolean> {
    try {
      await this.now(call)
      this.#failing = false
      return true
    } catch (error) {
      if (call.signal.aborted) return false
      const level = this.#failing || !this.hasDevices ? 'debug' : 'warn'
      this.#failing = this.hasDevices
      this.#context.logger[level]({ err: error }, 'the VFs of this host could not be reported; they are kept as they are')
      return false
    }
  }

  /** Only reads. */
  look(call: Call): Promise<void> {
    return this.#queue.run('', () => this.#look(call))
  }

  async #look(call: Call): Promise<void> {
    // What happens from here on may not be in it.
    this.#waiting = false
    const { pfs, seen } = await this.#reader.read(new Set([...this.claims, ...this.#held.all].map(({ pci }) => pci)), call)
    this.#held.keep(seen.map(({ view }) => view.vf))
    this.#seen = seen
    this.#pfs = pfs
  }

  /** Reads and reports; throws when vf-allocator does not answer. One at a time: a later report is never overtaken by an earlier one. */
  now(call: Call): Promise<void> {
    return this.#queue.run('', async () => {
      const had = this.hasDevices
      await this.#look(call)
      const pfs = this.#pfs
      if (!this.hasDevices && !had && this.#answer !== undefined) return
      // The answer may say that a VF is claimed, or name a baseline it differs from: then its state is another.
      for (let round = 0; round < 2; round++) {
        const vfs = this.messages()
        const request = { host: this.#context.host, epoch: this.epoch, pfs: [...pfs], vfs }
        const { vfs: answered } = await withCall({ ...undoCall(call, answerTimeoutMs), signal: call.signal }, (inner) =>
          this.#context.bus.client(busServices.vfAllocator).report(request, inner),
        )
        this.#answer = new Map(answered.map((vf) => [vf.pci, vf]))
        const now = this.messages()
        if (now.every(({ state, reason }, index) => state === vfs[index]?.state && reason === vfs[index]?.reason)) break
      }
    })
  }
}
