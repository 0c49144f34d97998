/**
 * Where the netlink thread's code is. From source it is beside this file, as TypeScript. A bundle must be built with
 * `src/worker/netlink-worker.ts` as an entry of its own, written as `netlink-worker.js` beside the file that holds this code
 * (`koffi` stays external in both), or the caller of openKernel names the place.
 */
export function workerUrl(): URL {
  const source = import.meta.url.endsWith('.ts')
  return new URL(source ? './worker/netlink-worker.ts' : './netlink-worker.js', import.meta.url)
}
