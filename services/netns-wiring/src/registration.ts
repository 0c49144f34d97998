/**
 * Tells the overlay service where this host's VXLAN packets come from, and that the host is alive. A changed underlay
 * address is one registration; every peer learns it from the host's record.
 */
import { busServices } from '@heddle/contract'
import { type Call, HeddleError, randomId, sleep } from '@heddle/core'
import type { Underlay } from './domain/network-shape.ts'
import { background, type HostContext } from './host-context.ts'

const retryMs = 1000
const callTimeoutMs = 3000

export class Registration {
  readonly #context: HostContext
  readonly #epoch = randomId()
  #registered: Underlay | undefined
  #heartbeatMs = 0
  #wake: () => void = () => {}
  #failing = false

  constructor(context: HostContext) {
    this.#context = context
  }

  get registered(): boolean {
    return this.#registered !== undefined
  }

  /** The underlay has changed. */
  changed(): void {
    this.#wake()
  }

  /** Until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const delayMs = await this.#step(signal)
      const interrupted = new AbortController()
      this.#wake = () => interrupted.abort(new Error('the underlay has changed'))
      await sleep(this.#context.clock, delayMs, AbortSignal.any([signal, interrupted.signal])).catch(() => {})
    }
  }

  /** Milliseconds until the next step. */
  async #step(signal: AbortSignal): Promise<number> {
    const { underlay } = this.#context
    if (underlay === undefined) return retryMs
    try {
      const due = this.#registered?.address !== underlay.address || this.#registered.mtu !== underlay.mtu
      await background(this.#context, callTimeoutMs, signal, (call) => (due ? this.#register(underlay, call) : this.#beat(call)))
      if (this.#failing) this.#context.logger.info({ vtep: underlay.address }, 'the overlay service answers again')
      this.#failing = false
      return this.#heartbeatMs
    } catch (error) {
      if (signal.aborted) return retryMs
      if (HeddleError.from(error).code === 'host-unknown') {
        this.#registered = undefined
        return 0
      }
      if (!this.#failing) this.#context.logger.warn({ err: error }, 'the overlay service did not take this host; trying again')
      this.#failing = true
      return retryMs
    }
  }

  async #register(underlay: Underlay, call: Call): Promise<void> {
    const { host, version, bus } = this.#context
    const request = { host: { name: host, vtep: underlay.address, underlayMtu: underlay.mtu, epoch: this.#epoch, version } }
    const { heartbeatMs } = await bus.client(busServices.overlay).registerHost(request, call)
    this.#heartbeatMs = Math.max(100, heartbeatMs)
    this.#registered = underlay
    this.#context.logger.info({ vtep: underlay.address, interface: underlay.interface, mtu: underlay.mtu }, 'host registered')
  }

  async #beat(call: Call): Promise<void> {
    await this.#context.bus.client(busServices.overlay).heartbeat({ host: this.#context.host, epoch: this.#epoch }, call)
  }
}
