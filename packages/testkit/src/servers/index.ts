/** The servers Heddle stands on, as children of a test. */
export type { ServerHandle, ServerOptions } from './daemon.ts'
export { type EtcdOptions, startEtcd } from './etcd.ts'
export { type NatsOptions, startNats } from './nats.ts'
