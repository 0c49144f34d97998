/** The kubelet's side of its plugin protocols. */
export * from './kubelet.ts'
export * from './plugin.ts'
