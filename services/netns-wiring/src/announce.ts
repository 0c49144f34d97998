/** Announces addresses behind the answer, when the link has its carrier: whoever knew them by another MAC learns of it. */
import { sleep } from '@heddle/core'
import type { Namespace } from '@heddle/kernel'
import { background, type HostContext } from './host-context.ts'

/** How long a card may take to have its carrier before the announcement is given up (igb: 3 s). */
const carrierWaitMs = 10_000
const carrierPollMs = 100

export interface Announcement {
  readonly ns: Namespace
  readonly name: string
  readonly mac: string
  readonly addresses: readonly string[]
  readonly endpointId: string
}

/** `isWanted`: whether the link is still the endpoint's. */
export function announceWhenRunning(context: HostContext, { ns, name, mac, addresses, endpointId }: Announcement, isWanted: () => boolean): void {
  context.jobs.once(`announce ${name} of ${endpointId}`, (signal) =>
    background(context, carrierWaitMs, signal, async (call) => {
      while (isWanted()) {
        const link = await context.kernel.link(ns, name, call).catch(() => undefined)
        if (link === undefined) return
        if (link.running) {
          await context.kernel.run([{ op: 'announce', ns, name, mac, addresses, tolerate: ['ENODEV', 'ENETDOWN'] }], call)
          return
        }
        await sleep(call.clock, carrierPollMs, call.signal)
      }
    }).catch((error: unknown) => context.logger.debug({ err: error, endpoint: endpointId }, 'the addresses of an endpoint were not announced')),
  )
}
