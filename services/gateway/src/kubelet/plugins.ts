/** A device plugin for each resource that a pool of VFs is offered as, kept in step with pools, VFs and the kubelet. */
import { type FSWatcher, watch } from 'node:fs'
import { join } from 'node:path'
import { loadDevicePluginApi } from '@heddle/contract'
import { type Call, HeddleError, withCall } from '@heddle/core'
import type { KubeletConfig } from '../config.ts'
import { together } from '../flows/undo.ts'
import { DeviceInfoFiles } from './device-info.ts'
import { isReserved, type Resource } from './devices.ts'
import { readResources } from './inventory.ts'
import { DevicePlugin } from './plugin.ts'
import { type KubeletParts, Reservations } from './reservations.ts'
import { Returns } from './returns.ts'

export class KubeletPlugins {
  readonly #parts: KubeletParts
  readonly #config: KubeletConfig
  readonly #files: DeviceInfoFiles
  readonly #reservations: Reservations
  readonly #returns: Returns
  readonly #plugins = new Map<string, DevicePlugin>()
  readonly #kubeletSocket: string
  readonly #watcher: FSWatcher | undefined
  /** What was read last; kept while nobody answers. */
  #resources: ReadonlyMap<string, Resource> = new Map()
  readonly #problems = new Map<string, string>()
  #stopped = false
  #looking = false

  constructor(parts: KubeletParts, config: KubeletConfig) {
    this.#parts = parts
    this.#config = config
    this.#kubeletSocket = join(config.pluginDir, 'kubelet.sock')
    this.#files = new DeviceInfoFiles(config.deviceInfoDir)
    this.#reservations = new Reservations(parts, this.#files)
    this.#returns = new Returns(parts, this.#reservations, { ...config, kubeletSocket: this.#kubeletSocket })
    this.#watcher = watched(config.pluginDir, () => this.#lookSoon())
  }

  /** Reads pools and VFs, streams what has changed, serves and registers what is not. */
  async refresh(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    const beganAtMs = clock.monotonicMs()
    await this.#reporting('pools', 'the kubelet keeps the last list of VFs it was told', async () => {
      const isElsewhere = (pci: string, resource: string) => this.#files.isElsewhere(pci, resource)
      const resources = await this.#within(signal, (call) => readResources(this.#parts.cluster, isElsewhere, call))
      this.#resources = resources
      await this.#apply()
      this.#tidy(beganAtMs)
    })
    await this.#lookAfter(signal)
  }

  /** Ends reservations that no pod has. */
  async takeBack(signal: AbortSignal): Promise<void> {
    await this.#reporting('pods', 'VFs that no pod has stay reserved for the kubelet', () =>
      this.#within(signal, (call) => this.#returns.reconcile(this.#resources, call)),
    )
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#watcher?.close()
    await Promise.all([...this.#plugins.values()].map((plugin) => plugin.stop()))
  }

  async #apply(): Promise<void> {
    const { pluginDir, timeoutMs } = this.#config
    const api = await loadDevicePluginApi()
    if (this.#stopped) return
    const options = { api, pluginDir, timeoutMs, kubeletSocket: this.#kubeletSocket }
    for (const resource of this.#resources.values()) {
      const plugin = this.#plugins.get(resource.name) ?? new DevicePlugin(this.#parts, this.#reservations, resource, options)
      this.#plugins.set(resource.name, plugin)
      plugin.update(resource)
    }
    for (const [name, plugin] of this.#plugins) {
      if (this.#resources.has(name)) continue
      this.#plugins.delete(name)
      // Else the kubelet would count its devices for minutes.
      plugin.update({ name, policy: 'pack', offers: new Map() })
      await plugin.stop()
    }
  }

  /** Removes the files of reservations that have ended. What was given out since the list was read is not in it. */
  #tidy(readAtMs: number): void {
    for (const { name, offers } of this.#resources.values()) {
      for (const { vf } of offers.values()) {
        if (!isReserved(vf) && this.#reservations.givenAtMs(vf.pci) < readAtMs) this.#files.remove(vf.pci, name)
      }
    }
  }

  async #lookAfter(signal: AbortSignal): Promise<void> {
    await this.#reporting('sockets', 'the kubelet does not know a resource', () =>
      // One that the kubelet refuses keeps no other from it.
      this.#within(signal, (call) => together([...this.#plugins.values()].map((plugin) => plugin.reconcile(call)))),
    )
  }

  #lookSoon(): void {
    if (this.#looking || this.#stopped) return
    this.#looking = true
    this.#parts.jobs.once("look at the kubelet's sockets", async (signal) => {
      this.#looking = false
      await this.#lookAfter(signal)
    })
  }

  /** A failure that lasts is reported once. */
  async #reporting(what: string, consequence: string, task: () => Promise<unknown>): Promise<void> {
    let problem = ''
    try {
      await task()
    } catch (error) {
      problem = HeddleError.from(error).sentence
    }
    if (problem !== '' && problem !== this.#problems.get(what) && !this.#stopped) this.#parts.logger.warn({ failure: problem }, consequence)
    this.#problems.set(what, problem)
  }

  #within<T>(signal: AbortSignal, body: (call: Call) => Promise<T>): Promise<T> {
    return withCall({ timeoutMs: this.#config.timeoutMs, signal, clock: this.#parts.clock }, body)
  }
}

/** Only quicker than the next refresh: what it misses, that finds; nor is it needed. */
function watched(directory: string, changed: () => void): FSWatcher | undefined {
  try {
    return watch(directory, { persistent: false }, changed).on('error', () => {})
  } catch {
    return undefined
  }
}
