/** NATS subjects, derived from the contract. A name becomes a token only after `isToken` agreed. */
import type { BusService, MethodDefinition } from './services.ts'

const token = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/

/** Whether a name may stand as one token of a subject: no dots, spaces or wildcards. */
export function isToken(name: string): boolean {
  return token.test(name)
}

/** `heddle.v1.Ipam.Allocate`, or `heddle.v1.Wiring.Attach.<host>` for a service of a host. Throws RangeError on a bad host name. */
export function subjectOf(service: BusService, method: MethodDefinition, host?: string): string {
  const subject = `${service.definition.fullName}.${method.name}`
  if (service.scope === 'cluster') return subject
  if (host === undefined || !isToken(host)) throw new RangeError(`host name ${JSON.stringify(host)} cannot be a subject token`)
  return `${subject}.${host}`
}

/** Subjects of what is told rather than asked. Each may be lost, doubled or late without harm. */
export const eventSubjects = {
  /** PeerDelta of one network. */
  peerDelta: (networkId: string) => `heddle.v1.event.PeerDelta.${networkId}`,
  /** PeerBeat of one network. */
  peerBeat: (networkId: string) => `heddle.v1.event.PeerBeat.${networkId}`,
  /** SpanBatch for the gateway of the host whose call started the trace. */
  spans: (host: string) => `heddle.v1.event.SpanBatch.${host}`,
} as const
