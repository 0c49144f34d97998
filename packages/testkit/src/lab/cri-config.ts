/** What containerd's CRI needs beside containerd itself: its configuration, a place for sandboxes, and the loopback plugin. */
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { LabScope } from './scope.ts'
import { run } from './shell.ts'

export interface CriOptions {
  /** Reference of the image that every sandbox runs; to be imported into the containerd namespace k8s.io. */
  readonly sandboxImage: string
  /** Directory of CNI configurations by runtime handler: a network of its own for the sandboxes that ask for the handler. */
  readonly handlers?: Readonly<Record<string, string>>
}

export function criConfig({ sandboxImage, handlers = {} }: CriOptions): string {
  return `[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${JSON.stringify(sandboxImage)}
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
${Object.entries(handlers).map(handlerConfig).join('')}`
}

function handlerConfig([name, confDir]: readonly [string, string]): string {
  mkdirSync(confDir, { recursive: true })
  return `  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${name}]
    runtime_type = "io.containerd.runc.v2"
    cni_conf_dir = ${JSON.stringify(confDir)}
`
}

/** Answers the directory where sandboxes' namespaces are mounted, shared with the machine: there the hands find them, as on a host. */
export async function shareNamespaces(scope: LabScope, state: string, binDir: string): Promise<string> {
  copyFileSync('/usr/lib/cni/loopback', join(binDir, 'loopback'))
  const dir = join(state, 'io.containerd.grpc.v1.cri/netns')
  mkdirSync(dir, { recursive: true })
  await run(['mount', '--bind', dir, dir])
  scope.defer('namespaces of sandboxes', () => run(['umount', '--recursive', '--lazy', dir]))
  await run(['mount', '--make-private', dir])
  await run(['mount', '--make-shared', dir])
  return dir
}
