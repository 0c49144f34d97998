/**
 * ADD and DEL of a VF in the sequence of sriov-cni (its main branch of July 2026), without its files, its lock and its IPAM: found by
 * sysfs, what is restored read first, settings one by one, through a namespace of its own so that nobody renames what it sees there.
 * Requests that follow one another leave together in one program, so each costs no more than it does there. A MAC, which it tries for
 * 20 times at 100 ms, this card has at once; a carrier, which it waits for 200 ms before it announces the address, comes later.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Call, randomId } from '@heddle/core'
import type { Kernel, LinkInfo, Namespace, SetVf, VfInfo } from '@heddle/kernel'
import type { Attached } from './attached.ts'
import type { Steps } from './steps.ts'

interface Original {
  readonly vf: VfInfo
  readonly link: LinkInfo
}

const carrierWaitMs = 200
const devices = '/sys/bus/pci/devices'

export class SriovCni {
  readonly #kernel: Kernel
  readonly #steps: Steps
  /** Its cache of what was there before ADD. */
  #original: Original | undefined

  constructor(kernel: Kernel, steps: Steps) {
    this.#kernel = kernel
    this.#steps = steps
  }

  async add({ pci, sandbox, ifname, settings, mac, address, gateway }: Attached, call: Call): Promise<void> {
    const kernel = this.#kernel
    const { pf, index } = this.#find(pci)
    const hostName = this.#steps.time('sysfs: the netdev', () => readdirSync(`${devices}/${pci}/net`)[0] ?? '')
    const original = { vf: await this.#info(pf, index, call), link: await this.#link('own', hostName, call) }
    this.#original = original

    const set = { op: 'vf.set', ns: 'own', name: pf, vf: index } as const
    const { vlan, rate, spoofchk, trust } = settings
    await kernel.run([{ ...set, vlan }], call)
    if (mac !== undefined) {
      await kernel.run([{ ...set, mac }], call)
      if ((await this.#info(pf, index, call)).mac !== mac) throw new Error(`the MAC of VF ${index} was not taken`)
    }
    await kernel.run(
      [
        { ...set, rate },
        { ...set, spoofchk },
        { ...set, trust },
      ],
      call,
    )

    const temporary = { path: `/run/netns/sriov-${randomId()}` }
    await kernel.createNamespace(temporary.path, call)
    await kernel.run(
      [
        { op: 'link.move', ns: 'own', name: hostName, to: temporary },
        { op: 'link.set', ns: temporary, name: hostName, rename: ifname },
        { op: 'link.move', ns: temporary, name: ifname, to: sandbox },
        { op: 'sysctl', ns: sandbox, path: `net/ipv4/conf/${ifname}/arp_notify`, value: '1' },
        { op: 'sysctl', ns: sandbox, path: `net/ipv6/conf/${ifname}/ndisc_notify`, value: '1', tolerate: ['ENOENT'] },
      ],
      call,
    )
    if (mac !== undefined) {
      await kernel.run([{ op: 'link.set', ns: sandbox, name: ifname, mac }], call)
      if ((await this.#link(sandbox, ifname, call)).mac !== mac) throw new Error(`the MAC of ${ifname} was not taken`)
    }
    await kernel.run(
      [
        { op: 'sysctl', ns: sandbox, path: `net/ipv6/conf/${ifname}/optimistic_dad`, value: '1', tolerate: ['ENOENT'] },
        { op: 'link.set', ns: sandbox, name: ifname, up: true },
        { op: 'address.replace', ns: sandbox, name: ifname, address },
        { op: 'route.add', ns: sandbox, name: ifname, destination: '0.0.0.0/0', gateway },
      ],
      call,
    )
    await this.#steps.waited('wait for a carrier', this.#waitForCarrier(sandbox, ifname, call))
    await kernel.run([{ op: 'announce', ns: sandbox, name: ifname, mac: mac ?? original.link.mac, addresses: [address.replace(/\/.*/, '')] }], call)
    await kernel.deleteNamespace(temporary.path, call)
  }

  /** With pauses that grow by half from 2 ms on, until 200 ms are over (pkg/utils/packet.go, WaitForCarrier). */
  async #waitForCarrier(ns: Namespace, name: string, call: Call): Promise<void> {
    const startMs = performance.now()
    for (let pauseMs = 2; ; pauseMs += Math.floor(pauseMs / 2)) {
      if ((await this.#kernel.link(ns, name, call))?.running === true || performance.now() - startMs >= carrierWaitMs) return
      await delay(pauseMs)
    }
  }

  async del({ pci, sandbox, ifname }: Attached, call: Call): Promise<void> {
    const kernel = this.#kernel
    const original = this.#original
    if (original === undefined) throw new Error('DEL without ADD')
    const { pf, index } = this.#find(pci)
    const set: SetVf = { op: 'vf.set', ns: 'own', name: pf, vf: index }
    const { vlan, qos, protocol, spoofchk = true, trust = false, minTxRate = 0, maxTxRate = 0 } = original.vf
    const { name, mtu } = original.link
    await kernel.run(
      [
        { ...set, vlan: { id: vlan, qos, protocol } },
        { ...set, spoofchk },
      ],
      call,
    )
    // Whether one was set or not.
    await kernel.run([{ ...set, mac: original.vf.mac }], call)
    if ((await this.#info(pf, index, call)).mac !== original.vf.mac) throw new Error(`the MAC of VF ${index} was not restored`)
    await kernel.run(
      [
        { ...set, trust },
        { ...set, rate: { min: minTxRate, max: maxTxRate } },
        { op: 'link.set', ns: sandbox, name: ifname, up: false },
        { op: 'link.set', ns: sandbox, name: ifname, rename: name },
        { op: 'link.set', ns: sandbox, name, mac: original.link.mac },
      ],
      call,
    )
    if ((await this.#link(sandbox, name, call)).mac !== original.link.mac) throw new Error(`the MAC of ${name} was not restored`)
    await kernel.run(
      [
        { op: 'link.set', ns: sandbox, name, mtu },
        { op: 'link.move', ns: sandbox, name, to: 'own' },
      ],
      call,
    )
  }

  /** Each VF of the PF in turn, until it is this one. */
  #find(pci: string): { readonly pf: string; readonly index: number } {
    return this.#steps.time('sysfs: PF and index', () => {
      const pf = readdirSync(`${devices}/${pci}/physfn/net`)[0] ?? ''
      const device = `/sys/class/net/${pf}/device`
      const count = Number(readFileSync(`${device}/sriov_numvfs`, 'utf8'))
      for (let index = 0; index < count; index++) if (basename(readlinkSync(`${device}/virtfn${index}`)) === pci) return { pf, index }
      throw new Error(`${pf} has no VF ${pci}`)
    })
  }

  async #info(pf: string, index: number, call: Call): Promise<VfInfo> {
    const info = (await this.#kernel.vfs('own', pf, call))[index]
    if (info === undefined) throw new Error(`${pf} tells nothing of VF ${index}`)
    return info
  }

  async #link(ns: Namespace, name: string, call: Call): Promise<LinkInfo> {
    const link = await this.#kernel.link(ns, name, call)
    if (link === undefined) throw new Error(`there is no ${name}`)
    return link
  }
}
