/** Files of /proc as a namespace sees them. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Call } from '@heddle/core'
import type { Namespace } from '@heddle/kernel'
import { boundPorts } from './domain/ports.ts'

/** `tcp 8080` for every port a local socket listens on (TCP) or is bound to (UDP). */
export async function portsInUse(ns: Namespace, call: Call): Promise<ReadonlySet<string>> {
  // tcp6 and udp6 are absent when IPv6 is off.
  const read = (name: string) => readFile(ns, `/proc/self/net/${name}`, call).catch(() => '')
  const [tcp, tcp6, udp, udp6] = await Promise.all(['tcp', 'tcp6', 'udp', 'udp6'].map(read))
  return new Set([...boundPorts('tcp', `${tcp}`), ...boundPorts('tcp', `${tcp6}`), ...boundPorts('udp', `${udp}`), ...boundPorts('udp', `${udp6}`)])
}

/** Whether packets between two ports of a bridge pass the host's rules (Documentation/networking/bridge.rst, br_netfilter). */
export async function filtersBridged(ns: Namespace, call: Call): Promise<boolean> {
  // Absent while br_netfilter is not loaded.
  const read = (name: string) => readFile(ns, `/proc/sys/net/bridge/bridge-nf-call-${name}`, call).catch(() => '0')
  return (await Promise.all(['iptables', 'ip6tables'].map(read))).every((text) => text.trim() === '1')
}

async function readFile(ns: Namespace, file: string, call: Call): Promise<string> {
  return ns === 'own' ? readFileSync(file, 'utf8') : readInside(ns.path, file, call)
}

/** Only labs with several hosts on one machine: reading a foreign namespace's file takes a process inside it. */
function readInside(namespacePath: string, file: string, call: Call): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('nsenter', [`--net=${namespacePath}`, 'cat', file], { signal: call.signal }, (error, stdout) => (error === null ? resolve(stdout) : reject(error)))
  })
}
