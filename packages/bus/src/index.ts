/** The bus: contract services over NATS (`connectBus`), or inside a test (`MemoryBus`), behind one port and one onion of interceptors. */
export { MemoryBus, type MemoryBusOptions, MemoryHub } from './memory.ts'
export { type BusOptions, connectBus } from './nats.adapter.ts'
export { redactServer } from './server-urls.ts'
export * from './types.ts'
