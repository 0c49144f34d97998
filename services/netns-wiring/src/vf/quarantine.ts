/** VFs that would not go back, why, and when to try again. Only in memory: a process that starts anew compares, tries, and finds out. */
import type { Clock } from '@heddle/core'
import type { VirtualFunction } from '@heddle/kernel'
import type { HostContext } from '../host-context.ts'

const firstRetryMs = 10_000
const lastRetryMs = 600_000

interface Entry {
  readonly inode: bigint
  readonly reason: string
  readonly tries: number
  readonly nextMs: number
}

export class Quarantine {
  readonly #clock: Clock
  readonly #logger: HostContext['logger']
  readonly #entries = new Map<string, Entry>()

  constructor({ clock, logger }: Pick<HostContext, 'clock' | 'logger'>) {
    this.#clock = clock
    this.#logger = logger
  }

  /** Logged once. */
  add(vf: VirtualFunction, left: readonly string[]): void {
    const tries = (this.#entry(vf)?.tries ?? 0) + 1
    const reason = left.join(', ')
    if (tries === 1) this.#logger.error({ vf: vf.pci, pf: vf.pf, reason }, `a VF would not go back to its baseline; "heddle vf repair ${vf.pci}" tries again`)
    const nextMs = this.#clock.monotonicMs() + Math.min(lastRetryMs, firstRetryMs * 2 ** (tries - 1))
    this.#entries.set(vf.pci, { inode: vf.inode, reason, tries, nextMs })
  }

  clear(vf: VirtualFunction): void {
    if (this.#entries.delete(vf.pci)) this.#logger.info({ vf: vf.pci }, 'a VF is at its baseline again')
  }

  /** Undefined when it is not in quarantine; one that was made anew is another VF. */
  reason(vf: VirtualFunction): string | undefined {
    return this.#entry(vf)?.reason
  }

  due(vf: VirtualFunction): boolean {
    const entry = this.#entry(vf)
    return entry === undefined || entry.nextMs <= this.#clock.monotonicMs()
  }

  #entry(vf: VirtualFunction): Entry | undefined {
    const entry = this.#entries.get(vf.pci)
    return entry?.inode === vf.inode ? entry : undefined
  }
}
