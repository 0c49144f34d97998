/** Addresses, prefixes, ranges, MACs and the search for a free address: pure functions on bigint. */
export * from './errors.ts'
export * from './free.ts'
export * from './ip.ts'
export * from './mac.ts'
export * from './occupancy.ts'
export * from './pci.ts'
export * from './prefix.ts'
export * from './range.ts'
