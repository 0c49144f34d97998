/** The process's metrics. prom-client is loaded when somebody first asks: it costs about 5 MiB. */
import { createRequire } from 'node:module'
import type { Registry } from 'prom-client'

const require = createRequire(import.meta.url)

export class Metrics {
  #registry: Registry | undefined

  /** With the default metrics of the process, the delay of the event loop among them. */
  get registry(): Registry {
    if (this.#registry !== undefined) return this.#registry
    const { Registry, collectDefaultMetrics } = require('prom-client') as typeof import('prom-client')
    this.#registry = new Registry()
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: 20 })
    return this.#registry
  }
}
