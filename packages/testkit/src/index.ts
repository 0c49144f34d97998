export {}
export * from './cni.ts'
export * from './docker.ts'
export * from './hosts.ts'
export * from './lab/index.ts'
export * from './proxy.ts'
export * from './servers/index.ts'
