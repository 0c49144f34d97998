/** A runtime whose rounds of reconciling a test asks for. Tests only. */
import type { Jobs, RuntimeControl } from '@heddle/runtime'

/** The runtime to build the service with, and its round. */
export function withRounds(runtime: RuntimeControl): { readonly runtime: RuntimeControl; reconcile(): Promise<void> } {
  let round: (signal: AbortSignal) => Promise<void> = async () => {}
  const jobs: Jobs = {
    every(job, intervalMs, task, options) {
      if (job === 'reconcile') round = task
      runtime.jobs.every(job, intervalMs, task, options)
    },
    once: (job, task) => runtime.jobs.once(job, task),
    stop: () => runtime.jobs.stop(),
  }
  return { runtime: Object.create(runtime, { jobs: { value: jobs } }) as RuntimeControl, reconcile: () => round(new AbortController().signal) }
}
