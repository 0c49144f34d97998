/** Which devices pods have, as the kubelet's pod resources API (v1) says. */
import { existsSync } from 'node:fs'
import { credentials } from '@grpc/grpc-js'
import { loadPodResourcesApi, type podResources } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { askKubelet } from './client.ts'

/** As the kubelet's own clients take it. */
const maxMessageBytes = 16 << 20

/** Device id to resource name; undefined when the kubelet serves no such API. Fails with unavailable when it does not answer. */
export async function devicesOfPods(socketPath: string, call: Call): Promise<Map<string, string> | undefined> {
  if (!existsSync(socketPath)) return undefined
  const { PodResourcesListerClient } = await loadPodResourcesApi()
  const connection = new PodResourcesListerClient(`unix:${socketPath}`, credentials.createInsecure(), { 'grpc.max_receive_message_length': maxMessageBytes })
  const pods: podResources.ListPodResourcesResponse = await askKubelet(connection, (client, ...rest) => client.list({}, ...rest), call)
  const devices = pods.podResources.flatMap(({ containers }) => containers.flatMap((container) => container.devices))
  return new Map(devices.flatMap(({ resourceName, deviceIds }) => deviceIds.map((id) => [id, resourceName] as const)))
}
