/** The parts that look after this host's VFs, put together: reports, repairs, events. */
import { type Call, KeyedQueue } from '@heddle/core'
import type { DeviceEvent, Sysfs } from '@heddle/kernel'
import { background, type HostContext } from '../host-context.ts'
import { Admin } from './admin.ts'
import { Cards } from './cards.ts'
import { Drivers } from './drivers.ts'
import { VfEndpoints, type VfParts } from './endpoints.ts'
import { HeldVfs } from './held.ts'
import { InventoryReader } from './inventory.ts'
import { PutBack } from './put-back.ts'
import { Quarantine } from './quarantine.ts'
import { VfRepairs } from './repair.ts'
import { VfReporter } from './report.ts'
import { realSurroundings, type VfSurroundings } from './surroundings.ts'
import { Whereabouts } from './whereabouts.ts'

export interface VfTimes {
  readonly vfReportMs: number
  readonly vfRepairMs: number
  readonly orphanGraceMs: number
}

const roundTimeoutMs = 120_000

export class VfHost {
  readonly parts: VfParts
  readonly endpoints: VfEndpoints
  readonly repairs: VfRepairs
  readonly #times: VfTimes
  #watch: { close(): void } | undefined

  constructor(context: HostContext, sysfs: Sysfs, times: VfTimes, surroundings: VfSurroundings = realSurroundings) {
    const cards = new Cards(context, sysfs)
    const common = {
      context,
      cards,
      admin: new Admin(context, cards),
      drivers: new Drivers(cards),
      whereabouts: new Whereabouts(context, surroundings.namespaces),
      quarantine: new Quarantine(context),
      held: new HeldVfs(),
      vfQueue: new KeyedQueue(),
    }
    const reader = new InventoryReader(context, cards, surroundings)
    this.parts = { ...common, putBack: new PutBack(common), reporter: new VfReporter(context, reader, common.quarantine, common.held) }
    this.endpoints = new VfEndpoints(this.parts)
    this.repairs = new VfRepairs(this.parts, this.endpoints, times.orphanGraceMs)
    this.#times = times
  }

  /** Before anything is served the cards are known; what an earlier process attached follows with the first answer, which is not waited for. */
  async start(call: Call): Promise<void> {
    const { context, reporter } = this.parts
    await reporter.look(call).catch((error: unknown) => context.logger.warn({ err: error }, 'the SR-IOV devices of this host could not be read'))
    reporter.soon()
    this.#watch = context.kernel.watchDevices((event) => {
      if (concerns(event)) reporter.soon()
    })
    context.jobs.every('report VFs', this.#times.vfReportMs, (signal) => this.#ifAny(signal, (inner) => reporter.tell(inner)))
    context.jobs.every('repair VFs', this.#times.vfRepairMs, (signal) => this.#ifAny(signal, (inner) => this.repairs.round(inner)), { immediately: true })
  }

  /** A link of the host's namespace has changed. Those that come and go are device events, whatever their name. */
  onLink(name: string): void {
    const { reporter } = this.parts
    if (reporter.seen.some(({ view }) => view.link?.name === name) || reporter.pfs.some(({ names }) => names.includes(name))) reporter.soon()
  }

  stop(): void {
    this.#watch?.close()
  }

  /** A host without SR-IOV devices has nothing to look after. */
  async #ifAny(signal: AbortSignal, body: (call: Call) => Promise<unknown>): Promise<void> {
    if (this.parts.reporter.hasDevices) await background(this.parts.context, roundTimeoutMs, signal, body)
  }
}

/** Netdevs come and go with every container; those of cards are below a PCI device. */
function concerns(event: DeviceEvent | undefined): boolean {
  return event === undefined || event.subsystem !== 'net' || event.path.startsWith('/devices/pci')
}
