/** The kubelet's side of the container runtime interface (CRI v1): pod sandboxes of a real containerd, one by one. */
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { type cri, loadCriApi } from '@heddle/contract'
import type { Containerd } from './containerd.ts'
import type { RunOptions } from './shell.ts'

export interface PodWish {
  readonly name: string
  /** One name may be tried again as another sandbox, as the kubelet does. */
  readonly attempt?: number
  /** Default: the runtime's. */
  readonly handler?: string
  readonly annotations?: Readonly<Record<string, string>>
  /** Of its resolv.conf, and the capability `dns`. */
  readonly dns?: { readonly servers?: string[]; readonly searches?: string[]; readonly options?: string[] }
  readonly ports?: readonly {
    readonly hostPort: number
    readonly containerPort: number
    readonly protocol?: 'TCP' | 'UDP' | 'SCTP'
    readonly hostIp?: string
  }[]
}

export interface Pod {
  readonly id: string
  /** `namespace/name`, as Kubernetes users write it. */
  readonly name: string
  /** As the runtime tells them, its primary one first. */
  readonly addresses: readonly string[]
  /** Path of its network namespace. */
  readonly netns: string
  /** Runs a command in its sandbox container; answers its standard output. */
  exec(command: readonly string[], options?: RunOptions): Promise<string>
}

export interface Cri {
  /** RunPodSandbox in the namespace `default`, of the image the runtime has for sandboxes; rejects with what the runtime says. */
  run(wish: PodWish): Promise<Pod>
  status(id: string): Promise<cri.PodSandboxStatusResponse>
  stop(id: string): Promise<void>
  /** Rejects while it runs: `stop` it first, as the kubelet does. */
  remove(id: string): Promise<void>
  list(): Promise<readonly cri.PodSandbox[]>
  /** Condition `NetworkReady` of Status. */
  network(): Promise<cri.RuntimeCondition | undefined>
  close(): void
}

type Unary<Request, Answer> = (
  request: Request,
  metadata: Metadata,
  options: { deadline: number },
  done: (error: ServiceError | null, answer: Answer) => void,
) => unknown

const patienceMs = 60_000

/** Also of a containerd that is started anew meanwhile. */
export async function connectCri(containerd: Containerd): Promise<Cri> {
  const { PodSandboxConfig, Protocol, RuntimeServiceClient } = await loadCriApi()
  const client = new RuntimeServiceClient(`unix:${containerd.socket}`, credentials.createInsecure())
  const ask = <Request, Answer>(method: Unary<Request, Answer>, request: Request): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + patienceMs, waitForReady: true }
      method.call(client, request, new Metadata(), options, (error, answer) => (error === null ? resolve(answer) : reject(error)))
    })
  const status = (id: string) => ask<cri.PodSandboxStatusRequest, cri.PodSandboxStatusResponse>(client.podSandboxStatus, { podSandboxId: id, verbose: true })

  let execs = 0
  return {
    async run({ name, attempt = 0, handler = '', annotations = {}, dns, ports = [] }) {
      const config = PodSandboxConfig.fromPartial({
        metadata: { name, uid: `uid-${name}`, namespace: 'default', attempt },
        hostname: name,
        ...(dns === undefined ? {} : { dnsConfig: dns }),
        portMappings: ports.map(({ protocol = 'TCP', ...port }) => ({ ...port, protocol: Protocol[protocol] })),
        annotations,
        linux: {},
      })
      const request: cri.RunPodSandboxRequest = { config, runtimeHandler: handler }
      const { podSandboxId: id } = await ask<cri.RunPodSandboxRequest, cri.RunPodSandboxResponse>(client.runPodSandbox, request)
      const { status: is, info } = await status(id)
      return {
        id,
        name: `default/${name}`,
        addresses: [is?.network?.ip ?? '', ...(is?.network?.additionalIps ?? []).map(({ ip }) => ip)].filter((ip) => ip !== ''),
        netns: netnsIn(info['info'] ?? ''),
        exec: (command, options) => containerd.ctr(['--namespace', 'k8s.io', 'task', 'exec', '--exec-id', `x${++execs}`, id, ...command], options),
      }
    },
    status,
    async stop(id) {
      await ask<cri.StopPodSandboxRequest, cri.StopPodSandboxResponse>(client.stopPodSandbox, { podSandboxId: id })
    },
    async remove(id) {
      await ask<cri.RemovePodSandboxRequest, cri.RemovePodSandboxResponse>(client.removePodSandbox, { podSandboxId: id })
    },
    list: async () => (await ask<cri.ListPodSandboxRequest, cri.ListPodSandboxResponse>(client.listPodSandbox, {})).items,
    async network() {
      const answer = await ask<cri.StatusRequest, cri.StatusResponse>(client.status, { verbose: false })
      return answer.status?.conditions.find(({ type }) => type === 'NetworkReady')
    },
    close: () => client.close(),
  }
}

/** containerd tells it among the namespaces of the sandbox container's OCI specification. */
function netnsIn(info: string): string {
  const { runtimeSpec } = JSON.parse(info) as { runtimeSpec: { linux: { namespaces: { type: string; path?: string }[] } } }
  return runtimeSpec.linux.namespaces.find(({ type }) => type === 'network')?.path ?? ''
}
