/** A process that ends at any of its steps, as kill -9 would: from then on nothing it does has an effect. Tests only. */

/** These return no promise, and change nothing. */
const immediate: ReadonlySet<string> = new Set(['watchDevices', 'watchLinks', 'namespaceInode'])

export class Life {
  /** Changes of kernel, card and allocator it may still make. */
  left = Number.POSITIVE_INFINITY
  dead = false

  /** One change more: the process may be dead before it. */
  writes(): void {
    if (--this.left < 0) this.dead = true
  }

  /** The same object, as this life may use it. `writes`: methods that change something. */
  over<T extends object>(target: T, writes: readonly (keyof T)[]): T {
    return new Proxy(target, {
      get: (object, name) => {
        const value: unknown = Reflect.get(object, name, object)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          if (writes.includes(name as keyof T)) this.writes()
          if (this.dead && !immediate.has(String(name))) return Promise.reject(new Error('killed'))
          return Reflect.apply(value as (...all: unknown[]) => unknown, object, args)
        }
      },
    })
  }
}
