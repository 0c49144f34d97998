/** Listeners of link notifications, on the main thread. When some were lost, the links are read again and the difference is told. */
import type { Request, WatchNotice } from './protocol.ts'
import type { LinkEvent, LinkInfo, Namespace } from './types.ts'

interface Source {
  send(request: Request): Promise<unknown>
  list(ns: Namespace): Promise<readonly LinkInfo[]>
}

interface Watcher {
  readonly ns: Namespace
  readonly listener: (event: LinkEvent) => void
  /** Links told of, by index. */
  readonly known: Map<number, string>
}

export class Watchers {
  readonly #source: Source
  readonly #watchers = new Map<number, Watcher>()
  #next = 1

  constructor(source: Source) {
    this.#source = source
  }

  add(ns: Namespace, listener: (event: LinkEvent) => void): { close(): void } {
    const watch = this.#next++
    this.#watchers.set(watch, { ns, listener, known: new Map() })
    this.#subscribe(watch, ns)
    return {
      close: () => {
        if (!this.#watchers.delete(watch)) return
        this.#source.send({ kind: 'unwatch', watch }).catch(() => {})
      },
    }
  }

  onNotice(notice: WatchNotice): void {
    const watcher = this.#watchers.get(notice.watch)
    if (watcher === undefined) return
    if ('overrun' in notice) void this.#compare(watcher)
    else for (const event of notice.events) tell(watcher, event)
  }

  /** A new thread watches nothing yet. */
  restart(): void {
    for (const [watch, watcher] of this.#watchers) {
      this.#subscribe(watch, watcher.ns)
      void this.#compare(watcher)
    }
  }

  /** A namespace that is gone has no events: its watcher stays silent. */
  #subscribe(watch: number, ns: Namespace): void {
    this.#source.send({ kind: 'watch', watch, ns }).catch(() => {})
  }

  async #compare(watcher: Watcher): Promise<void> {
    const links = await this.#source.list(watcher.ns).catch(() => undefined)
    if (links === undefined) return
    const present = new Set(links.map((link) => link.index))
    for (const [index, name] of watcher.known) if (!present.has(index)) tell(watcher, { kind: 'gone', index, name })
    for (const { index, name } of links) tell(watcher, { kind: 'new', index, name })
  }
}

function tell(watcher: Watcher, event: Omit<LinkEvent, 'ns'>): void {
  if (event.kind === 'new') watcher.known.set(event.index, event.name)
  else watcher.known.delete(event.index)
  watcher.listener({ ...event, ns: watcher.ns })
}
