export {}
export * from './proxy.ts'
export * from './servers/index.ts'
