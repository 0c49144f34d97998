/** The DevicePlugin service of one resource, as gRPC methods (k8s.io/kubelet, deviceplugin/v1beta1). */
import type { ServerUnaryCall, ServerWritableStream, sendUnaryData } from '@grpc/grpc-js'
import type { devicePlugin } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { asServiceError, budgetMs } from '../api/service.ts'
import { pluginCall } from '../door.ts'
import type { Resource } from './devices.ts'
import { prefer } from './preference.ts'
import type { KubeletParts, Reservations } from './reservations.ts'

export const pluginOptions: devicePlugin.DevicePluginOptions = { preStartRequired: true, getPreferredAllocationAvailable: true }

export type ListStream = ServerWritableStream<devicePlugin.Empty, devicePlugin.ListAndWatchResponse>

export interface ServiceOptions {
  readonly timeoutMs: number
  /** As it is now. */
  readonly resource: () => Resource
  /** A kubelet that wants the list now and whenever it changes. */
  readonly watch: (stream: ListStream) => void
}

export function devicePluginService(
  parts: KubeletParts,
  reservations: Reservations,
  { resource, timeoutMs, watch }: ServiceOptions,
): devicePlugin.DevicePluginServer {
  const unary =
    <Request, Response>(name: string, kept: boolean, handle: (request: Request, call: Call) => Promise<Response>) =>
    (unaryCall: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void => {
      const gone = new AbortController()
      unaryCall.on('cancelled', () => gone.abort(new HeddleError('cancelled', 'the kubelet ended its call')))
      const attributes = { 'heddle.resource': resource().name }
      const options = { name: `kubelet ${name}`, attributes, timeoutMs: budgetMs(unaryCall, timeoutMs), key: '', signal: gone.signal, kept }
      pluginCall(parts, options, (call) => handle(unaryCall.request, call)).then(
        (response) => callback(null, response),
        (error: unknown) => callback(asServiceError(error)),
      )
    }
  return {
    getDevicePluginOptions: (_call, callback) => callback(null, pluginOptions),
    listAndWatch: watch,
    getPreferredAllocation: unary('GetPreferredAllocation', false, async ({ containerRequests }: devicePlugin.PreferredAllocationRequest) => ({
      containerResponses: containerRequests.map(({ availableDeviceIDs, mustIncludeDeviceIDs, allocationSize }) => ({
        deviceIDs: prefer(resource(), { available: availableDeviceIDs, mustInclude: mustIncludeDeviceIDs, size: allocationSize }),
      })),
    })),
    allocate: unary('Allocate', true, (request: devicePlugin.AllocateRequest, call) => reservations.allocate(resource(), request, call)),
    preStartContainer: unary('PreStartContainer', true, async ({ devicesIds }: devicePlugin.PreStartContainerRequest, call) => {
      await reservations.preStart(resource(), devicesIds, call)
      return {}
    }),
  }
}
