export {}
export * from './hosts.ts'
export * from './lab/index.ts'
export * from './proxy.ts'
export * from './servers/index.ts'
