/**
 * Listeners of notifications, on the main thread. When notifications of links were lost, the links are read again and the difference
 * is told; of devices, that some were lost is told.
 */
import type { Request, WatchNotice } from './protocol.ts'
import type { DeviceEvent, LinkEvent, LinkInfo, Namespace } from './types.ts'

interface Source {
  send(request: Request): Promise<unknown>
  list(ns: Namespace): Promise<readonly LinkInfo[]>
}

interface LinkWatcher {
  readonly ns: Namespace
  readonly listener: (event: LinkEvent) => void
  /** Links told of, by index. */
  readonly known: Map<number, string>
}

interface DeviceWatcher {
  readonly onDevice: (event: DeviceEvent | undefined) => void
}

export class Watchers {
  readonly #source: Source
  readonly #watchers = new Map<number, LinkWatcher | DeviceWatcher>()
  #next = 1

  constructor(source: Source) {
    this.#source = source
  }

  add(ns: Namespace, listener: (event: LinkEvent) => void): { close(): void } {
    return this.#add({ ns, listener, known: new Map() })
  }

  addDevices(listener: (event: DeviceEvent | undefined) => void): { close(): void } {
    return this.#add({ onDevice: listener })
  }

  onNotice(notice: WatchNotice): void {
    const watcher = this.#watchers.get(notice.watch)
    if (watcher === undefined) return
    if ('overrun' in notice) this.#lost(watcher)
    else if ('devices' in notice && 'onDevice' in watcher) for (const event of notice.devices) watcher.onDevice(event)
    else if ('events' in notice && 'listener' in watcher) for (const event of notice.events) tell(watcher, event)
  }

  /** A new thread watches nothing yet. */
  restart(): void {
    for (const [watch, watcher] of this.#watchers) {
      this.#subscribe(watch, watcher)
      this.#lost(watcher)
    }
  }

  #add(watcher: LinkWatcher | DeviceWatcher): { close(): void } {
    const watch = this.#next++
    this.#watchers.set(watch, watcher)
    this.#subscribe(watch, watcher)
    return {
      close: () => {
        if (!this.#watchers.delete(watch)) return
        this.#source.send({ kind: 'unwatch', watch }).catch(() => {})
      },
    }
  }

  /** A namespace that is gone has no events: its watcher stays silent. */
  #subscribe(watch: number, watcher: LinkWatcher | DeviceWatcher): void {
    const request: Request = 'onDevice' in watcher ? { kind: 'watchDevices', watch } : { kind: 'watch', watch, ns: watcher.ns }
    this.#source.send(request).catch(() => {})
  }

  #lost(watcher: LinkWatcher | DeviceWatcher): void {
    if ('onDevice' in watcher) watcher.onDevice(undefined)
    else void this.#compare(watcher)
  }

  async #compare(watcher: LinkWatcher): Promise<void> {
    const links = await this.#source.list(watcher.ns).catch(() => undefined)
    if (links === undefined) return
    const present = new Set(links.map((link) => link.index))
    for (const [index, name] of watcher.known) if (!present.has(index)) tell(watcher, { kind: 'gone', index, name })
    for (const { index, name } of links) tell(watcher, { kind: 'new', index, name })
  }
}

function tell(watcher: LinkWatcher, event: Omit<LinkEvent, 'ns'>): void {
  if (event.kind === 'new') watcher.known.set(event.index, event.name)
  else watcher.known.delete(event.index)
  watcher.listener({ ...event, ns: watcher.ns })
}
