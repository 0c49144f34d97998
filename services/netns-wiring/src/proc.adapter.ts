/** Files of /proc/net as a namespace sees them. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Call } from '@heddle/core'
import type { Namespace } from '@heddle/kernel'
import { boundPorts } from './domain/ports.ts'

/** `tcp 8080` for every port a local socket listens on (TCP) or is bound to (UDP). */
export async function portsInUse(ns: Namespace, call: Call): Promise<ReadonlySet<string>> {
  const read = async (name: string) => {
    try {
      return ns === 'own' ? readFileSync(`/proc/self/net/${name}`, 'utf8') : await readInside(ns.path, `/proc/self/net/${name}`, call)
    } catch {
      return '' // tcp6 and udp6 are absent when IPv6 is off
    }
  }
  const [tcp, tcp6, udp, udp6] = await Promise.all(['tcp', 'tcp6', 'udp', 'udp6'].map(read))
  return new Set([...boundPorts('tcp', `${tcp}`), ...boundPorts('tcp', `${tcp6}`), ...boundPorts('udp', `${udp}`), ...boundPorts('udp', `${udp6}`)])
}

/** Only labs with several hosts on one machine: reading a foreign namespace's file takes a process inside it. */
function readInside(namespacePath: string, file: string, call: Call): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('nsenter', [`--net=${namespacePath}`, 'cat', file], { signal: call.signal }, (error, stdout) => (error === null ? resolve(stdout) : reject(error)))
  })
}
