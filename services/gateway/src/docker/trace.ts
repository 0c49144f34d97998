/** Docker attaches an endpoint in several calls; one derived trace id makes them one trace, and detaching another. */
import { hashId } from '@heddle/core'
import type { RouteTrace } from './route.ts'

export type Stage = 'connect' | 'disconnect'

export function endpointTrace(stage: Stage, { NetworkID, EndpointID }: { readonly NetworkID: string; readonly EndpointID: string }): RouteTrace {
  return {
    attributes: { 'heddle.endpoint': EndpointID, 'docker.network_id': NetworkID },
    key: EndpointID,
    traceparent: `00-${hashId(stage, EndpointID)}-${hashId(stage, 'parent', EndpointID).slice(0, 16)}-01`,
  }
}
