/** What tests, the demo and the benchmarks stand on: real servers, hosts as namespaces, container engines, faults on the wire. */
export * from './cni.ts'
export * from './docker.ts'
export * from './hosts.ts'
export * from './kubelet/index.ts'
export * from './lab/index.ts'
export * from './proxy.ts'
export * from './servers/index.ts'
