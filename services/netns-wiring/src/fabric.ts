/**
 * The fabric namespace: VXLAN devices and bridges of all overlay networks of this host, away from the host's firewall and
 * from bridge-netfilter. Everything in it is Heddle's.
 */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Call } from '@heddle/core'
import { KeyedQueue } from '@heddle/core'
import type { Kernel, LinkEvent, Namespace, Step } from '@heddle/kernel'

export class Fabric {
  readonly ns: { readonly path: string }
  readonly #kernel: Kernel
  readonly #listener: (event: LinkEvent) => void
  readonly #queue = new KeyedQueue()
  #inode: bigint | undefined
  #watch: { close(): void } | undefined

  constructor(kernel: Kernel, path: string, listener: (event: LinkEvent) => void) {
    this.#kernel = kernel
    this.ns = { path }
    this.#listener = listener
  }

  get exists(): boolean {
    return this.#kernel.namespaceInode(this.ns.path) !== undefined
  }

  /** Makes it unless it is there, and watches its links. */
  ensure(call: Call): Promise<void> {
    if (this.#inode !== undefined && this.#inode === this.#kernel.namespaceInode(this.ns.path)) return Promise.resolve()
    return this.#queue.run('', async () => {
      if (!this.exists) {
        mkdirSync(dirname(this.ns.path), { recursive: true, mode: 0o755 })
        if (await this.#kernel.createNamespace(this.ns.path, call)) await this.#kernel.run(sysctls(this.ns), call)
      }
      const inode = this.#kernel.namespaceInode(this.ns.path)
      if (inode === this.#inode) return
      this.#watch?.close()
      this.#watch = this.#kernel.watchLinks(this.ns, this.#listener)
      this.#inode = inode
    })
  }

  /** With everything in it. */
  remove(call: Call): Promise<void> {
    // At once, so that an `ensure` from now on waits for the removal and makes it anew.
    this.close()
    return this.#queue.run('', async () => {
      if (this.exists) await this.#kernel.deleteNamespace(this.ns.path, call)
    })
  }

  close(): void {
    this.#watch?.close()
    this.#watch = undefined
    this.#inode = undefined
  }
}

/**
 * bridge-nf-call-* is per namespace and starts at 1 when br_netfilter is in. Ports and bridges get no IPv6 address of their
 * own (addr_gen_mode 1, "none"): so they send no router solicitations or MLD reports into the networks. IPv6 itself must
 * stay on, or the kernel takes no IPv6 neighbours.
 */
function sysctls(ns: Namespace): Step[] {
  const set = (path: string, value: string): Step => ({ op: 'sysctl', ns, path, value, tolerate: ['ENOENT'] })
  return [
    set('net/bridge/bridge-nf-call-iptables', '0'),
    set('net/bridge/bridge-nf-call-ip6tables', '0'),
    set('net/bridge/bridge-nf-call-arptables', '0'),
    set('net/ipv6/conf/default/addr_gen_mode', '1'),
  ]
}
