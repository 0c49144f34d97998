/**
 * The kubelet's door. Nothing of it is loaded on a host without a kubelet: what speaks with one comes with the directory
 * that a kubelet makes.
 */
import { existsSync } from 'node:fs'
import type { KubeletConfig } from '../config.ts'
import type { KubeletPlugins } from './plugins.ts'
import type { KubeletParts } from './reservations.ts'

export class KubeletDoor {
  readonly #parts: KubeletParts
  readonly #config: KubeletConfig
  #plugins: KubeletPlugins | undefined
  #stopped = false

  constructor(parts: KubeletParts, config: KubeletConfig) {
    this.#parts = parts
    this.#config = config
  }

  start(): void {
    const { jobs } = this.#parts
    const { refreshMs, takeBackMs } = this.#config
    jobs.every('kubelet resources', refreshMs, async (signal) => (await this.#opened())?.refresh(signal), { immediately: true })
    jobs.every('kubelet reservations', takeBackMs, async (signal) => this.#plugins?.takeBack(signal))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#plugins?.stop()
  }

  async #opened(): Promise<KubeletPlugins | undefined> {
    if (this.#plugins !== undefined || this.#stopped || !existsSync(this.#config.pluginDir)) return this.#plugins
    const { KubeletPlugins } = await import('./plugins.ts')
    if (!this.#stopped) this.#plugins = new KubeletPlugins(this.#parts, this.#config)
    return this.#plugins
  }
}
