/** A made-up card under a kernel in memory: sysfs as files, VFs with settings, drivers with their ways. Tests only. */
import { readFileSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type LinkInfo, openSysfs, type SetVf, type Sysfs, type VfInfo } from '@heddle/kernel'
import { MadeUpSysfs, type SysfsDescription } from '@heddle/testkit'
import { noMac } from '../vf/shape.ts'
import type { FakeHardware, Mutable } from './fake-hardware.ts'
import type { FakeKernel } from './fake-kernel.ts'

/** In the kernel's order. */
const order = ['mac', 'vlan', 'rate', 'spoofchk', 'linkState', 'trust'] as const

export class FakeCard implements FakeHardware {
  readonly tree: MadeUpSysfs
  readonly sysfs: Sysfs
  /** Errnos of settings the driver does not take: a part of `vlan` as `vlan_qos` or `vlan_proto`. */
  readonly refuses = new Map<string, string>()
  /** Looks after which a MAC is there: the driver of the PF, or of the VF, takes its time. */
  adminLag = 0
  netdevLag = 0
  /** A netdev keeps its MAC until its driver is bound anew. */
  stubborn = false
  /** The PF's driver takes no MAC back. */
  keepsMac = false
  readonly #kernel: FakeKernel
  readonly #pfs: readonly string[]
  readonly #infos = new Map<string, Mutable<VfInfo>>()
  readonly #later: { looks: number; take: () => unknown }[] = []

  constructor(kernel: FakeKernel, description: SysfsDescription) {
    this.#kernel = kernel
    this.#pfs = description.functions.map(({ pci }) => pci)
    this.tree = new MadeUpSysfs(description)
    this.sysfs = openSysfs(this.tree.root, {
      bootIdPath: this.tree.bootIdPath,
      write: async (path, value) => {
        await this.tree.write(path, value)
        this.sync()
      },
    })
    kernel.hardware = this
    this.sync()
  }

  info(pci: string): Mutable<VfInfo> {
    const index = this.#pfs.map((pf) => this.tree.vfs(pf).indexOf(pci)).find((found) => found >= 0) ?? 0
    const made = this.#infos.get(pci) ?? {
      index,
      mac: noMac,
      vlan: 0,
      qos: 0,
      protocol: '802.1q',
      minTxRate: 0,
      maxTxRate: 0,
      spoofchk: true,
      trust: false,
      linkState: 'auto',
    }
    this.#infos.set(pci, made)
    return made
  }

  vfs(pfName: string): readonly VfInfo[] | undefined {
    const pf = this.#pfOf(pfName)
    this.looked()
    return pf === undefined ? undefined : this.tree.vfs(pf).map((pci) => ({ ...this.info(pci) }))
  }

  set(step: SetVf): { readonly errno: string; readonly setting: string } | undefined {
    const pf = this.#pfOf(step.name)
    const pci = pf === undefined ? undefined : this.tree.vfs(pf)[step.vf]
    if (pci === undefined) return { errno: 'ENODEV', setting: '' }
    const info = this.info(pci)
    for (const setting of order) {
      if (step[setting] === undefined) continue
      const { vlan } = step
      const part =
        setting !== 'vlan' || vlan === undefined ? [] : [...(vlan.qos > 0 ? ['vlan_qos'] : []), ...(vlan.protocol === '802.1ad' ? ['vlan_proto'] : [])]
      const refused = [setting, ...part].find((name) => this.refuses.has(name))
      if (refused !== undefined) return { errno: this.refuses.get(refused) ?? '', setting }
      if (setting === 'mac' && step.mac === noMac && this.keepsMac) return { errno: 'EINVAL', setting }
    }
    const { mac, vlan, rate, spoofchk, trust, linkState } = step
    if (mac !== undefined) this.#soon(this.adminLag, () => Object.assign(info, { mac }))
    if (vlan !== undefined) Object.assign(info, { vlan: vlan.id, qos: vlan.qos, protocol: vlan.protocol })
    if (rate !== undefined) Object.assign(info, { minTxRate: rate.min, maxTxRate: rate.max })
    Object.assign(info, {
      ...(spoofchk === undefined ? {} : { spoofchk }),
      ...(trust === undefined ? {} : { trust }),
      ...(linkState === undefined ? {} : { linkState }),
    })
    return undefined
  }

  mac(link: Mutable<LinkInfo>, mac: string): string | undefined {
    const admin = this.#infos.get(link.parentDevice)?.mac ?? noMac
    if (admin !== noMac && mac !== admin) return 'EADDRNOTAVAIL'
    if (this.stubborn) return undefined
    this.#soon(this.netdevLag, () => Object.assign(link, { mac }))
    return undefined
  }

  looked(): void {
    for (const one of [...this.#later]) {
      if (one.looks-- > 0) continue
      this.#later.splice(this.#later.indexOf(one), 1)
      one.take()
    }
  }

  /** The kernel's netdevs, told to sysfs. */
  changed(): void {
    for (const pci of this.#functions()) {
      const shown = new Set(this.tree.netdevs(pci))
      const links = [...(this.#kernel.namespaces.get('own')?.links.values() ?? [])].filter(({ parentDevice }) => parentDevice === pci)
      for (const { name } of links)
        if (!shown.has(name)) {
          const old = [...shown].find((one) => !links.some((link) => link.name === one))
          if (old === undefined) this.tree.returnNetdev(pci, name)
          else this.tree.renameNetdev(old, name)
        }
      for (const name of this.tree.netdevs(pci)) if (!links.some((link) => link.name === name)) this.tree.takeNetdev(name)
    }
  }

  /** What drivers made and unmade, told to the kernel. */
  sync(): void {
    for (const pci of this.#functions()) {
      const names = this.tree.netdevs(pci)
      const own = this.#kernel.namespaces.get('own')
      const gone = this.driver(pci) === '' || this.driver(pci) === 'vfio-pci' || names.some((name) => own?.links.get(name)?.parentDevice !== pci)
      for (const { links } of this.#kernel.namespaces.values()) {
        for (const [name, link] of links) if (gone && link.parentDevice === pci) links.delete(name)
      }
      for (const name of names) {
        if (own?.links.has(name)) continue
        const admin = this.#infos.get(pci)?.mac ?? noMac
        this.#kernel.addNetdev(name, pci, admin === noMac ? readFileSync(join(this.tree.root, 'class/net', name, 'address'), 'utf8').trim() : admin)
      }
    }
    for (const { links } of this.#kernel.namespaces.values()) {
      for (const [name, { parentDevice }] of links) if (parentDevice !== '' && !this.#functions().includes(parentDevice)) links.delete(name)
    }
  }

  /** VFs were made anew: their PF sets nothing for them. */
  forget(): void {
    this.#infos.clear()
    for (const { links } of this.#kernel.namespaces.values()) {
      for (const [name, { parentDevice }] of links) if (parentDevice !== '' && !this.#pfs.includes(parentDevice)) links.delete(name)
    }
    this.sync()
  }

  driver(pci: string): string {
    try {
      return basename(readlinkSync(join(this.tree.root, 'bus/pci/devices', pci, 'driver')))
    } catch {
      return ''
    }
  }

  /** Where a VF's netdev is. */
  find(pci: string): { readonly ns: string; readonly link: LinkInfo } | undefined {
    for (const [ns, { links }] of this.#kernel.namespaces) for (const link of links.values()) if (link.parentDevice === pci) return { ns, link }
    return undefined
  }

  #functions(): string[] {
    return this.#pfs.flatMap((pf) => [pf, ...this.tree.vfs(pf)])
  }

  #pfOf(name: string): string | undefined {
    const parent = this.#kernel.namespaces.get('own')?.links.get(name)?.parentDevice
    return this.#pfs.find((pf) => pf === parent)
  }

  #soon(looks: number, take: () => unknown): void {
    if (looks === 0) take()
    else this.#later.push({ looks, take })
  }
}
