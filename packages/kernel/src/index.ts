/** The Linux kernel as Heddle uses it: rtnetlink, nftables, namespaces. Mechanism only; the one importer of koffi. */
export * from './errors.ts'
export { encodeValues } from './nfnl/values.ts'
export { type KernelOptions, openKernel } from './open.ts'
export { probePrefix } from './probe.ts'
export { routeProtocol } from './rtnl/address.ts'
export * from './types.ts'
export { workerUrl } from './worker-url.ts'
