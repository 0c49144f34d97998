/** etcd for Heddle's services; see the README for what each operation guarantees. */

export * from './decide.ts'
export { connectStore, type StoreOptions } from './etcd.adapter.ts'
export { MemoryStore } from './memory.ts'
export * from './mirror.ts'
export * from './types.ts'
export { connectUngrouped, type Ungrouped } from './ungrouped.adapter.ts'
