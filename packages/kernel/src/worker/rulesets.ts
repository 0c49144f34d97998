/** Whole nftables rulesets by `nft -f -`: one transaction each, so one that is ended early has changed nothing. */
import type { Namespace } from '../types.ts'
import { Expired, Refused, Unavailable } from './failures.ts'
import type { Namespaces } from './namespaces.ts'
import type { Poller } from './poller.ts'
import { type Child, findCommand, startChild } from './spawn.ts'

interface Load {
  readonly child: Child
  readonly expiresAtMs: number
  expired: boolean
}

export class Rulesets {
  readonly #namespaces: Namespaces
  readonly #poller: Poller
  readonly #loads = new Set<Load>()

  constructor(namespaces: Namespaces, poller: Poller) {
    this.#namespaces = namespaces
    this.#poller = poller
  }

  /** Calls back when nft has ended. */
  load(ns: Namespace, ruleset: string, expiresAtMs: number, answer: (error: Error | undefined) => void): void {
    const nft = findCommand('nft')
    if (nft === undefined) throw new Unavailable('the command nft is not installed')
    const child = this.#namespaces.use((open) => open(ns).inside(() => startChild(nft, ['-f', '-'], ruleset)))
    const load: Load = { child, expiresAtMs, expired: false }
    this.#loads.add(load)
    this.#poller.add(child.pidfd, () => {
      this.#loads.delete(load)
      this.#poller.remove(child.pidfd)
      const { code, output } = child.finish()
      if (code === 0) answer(undefined)
      else answer(load.expired ? new Expired() : new Refused('EINVAL', output.trim() || `nft ended with code ${code}`))
    })
  }

  endExpired(now: number): void {
    for (const load of this.#loads) {
      if (load.expired || now < load.expiresAtMs) continue
      load.expired = true
      load.child.kill()
    }
  }
}
