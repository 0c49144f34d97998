/** One VF as it is now: sysfs, its PF's word, and its netdev while that is in the host's namespace. Reads only. */
import { type Call, HeddleError, raceCall } from '@heddle/core'
import type { LinkInfo, Sysfs, VfInfo, VirtualFunction } from '@heddle/kernel'
import { refusalOf } from '../errors.ts'
import type { HostContext } from '../host-context.ts'
import type { AtPf } from './plan.ts'

export interface VfView {
  readonly vf: VirtualFunction
  /** The PF's netdev; empty when it has none in the host's namespace. */
  readonly pfName: string
  /** Absent when the PF cannot be asked. */
  readonly info: VfInfo | undefined
  /** In the host's namespace. */
  readonly link: LinkInfo | undefined
}

/** Virtio's netdevs have the virtio device as parent; before Linux 5.14 no parent is told. */
export function isOf(link: LinkInfo, pci: string): boolean {
  return link.parentDevice === pci || !/^[0-9a-f]{4,}:[0-9a-f]{2}:/.test(link.parentDevice)
}

export class Cards {
  readonly sysfs: Sysfs
  readonly #context: HostContext
  /** PF address to its netdev, as last seen; compared with the kernel at each use. */
  readonly #uplinks = new Map<string, string>()

  constructor(context: HostContext, sysfs: Sysfs) {
    this.#context = context
    this.sysfs = sysfs
  }

  /** Throws vf-unknown. */
  async get(pci: string, call: Call): Promise<VfView> {
    const view = await this.read(pci, call)
    if (view === undefined) {
      throw new HeddleError('vf-unknown', `host ${this.#context.host} has no VF ${pci}`, {
        field: 'vf.pci',
        remedy: 'see "heddle vf ls"; VFs are made by "heddle pf set-vfs"',
        details: { pci, host: this.#context.host },
      })
    }
    return view
  }

  /** As sysfs has it, without what waits for locks of the kernel. Whoever reads waits no longer than its call. */
  function(pci: string, call: Call): Promise<VirtualFunction | undefined> {
    return raceCall(this.sysfs.virtualFunction(pci, { atOnce: true }), call)
  }

  async read(pci: string, call: Call): Promise<VfView | undefined> {
    const vf = await this.function(pci, call)
    if (vf === undefined) return undefined
    const [{ pfName, info }, link] = await Promise.all([this.#admin(vf, call), this.linkOf(vf, call)])
    return { vf, pfName, info, link }
  }

  /** The same VF, with what its PF tells of it now: a tenth of reading it whole. */
  async asked(view: VfView, call: Call): Promise<VfView> {
    const infos = view.pfName === '' ? undefined : await this.infos(view.vf.pf, view.pfName, call)
    return infos === undefined ? this.get(view.vf.pci, call) : { ...view, info: infos.find(({ index }) => index === view.vf.index) }
  }

  async linkOf(vf: VirtualFunction, call: Call): Promise<LinkInfo | undefined> {
    const name = vf.netdevs[0]?.name
    if (name === undefined) return undefined
    const link = await this.#context.kernel.link(this.#context.hostNs, name, call)
    return link !== undefined && isOf(link, vf.pci) ? link : undefined
  }

  at(view: VfView): AtPf {
    return { ns: this.#context.hostNs, name: view.pfName, vf: view.vf.index }
  }

  /** The PF's netdev may have been renamed: then it is read again, once. */
  async #admin(vf: VirtualFunction, call: Call): Promise<{ readonly pfName: string; readonly info: VfInfo | undefined }> {
    for (const known of [this.#uplinks.get(vf.pf), undefined]) {
      const name = known ?? (await raceCall(this.sysfs.physicalFunction(vf.pf), call))?.netdevs[0]?.name
      if (name === undefined) break
      const infos = await this.infos(vf.pf, name, call)
      if (infos === undefined) continue
      this.#uplinks.set(vf.pf, name)
      return { pfName: name, info: infos.find(({ index }) => index === vf.index) }
    }
    this.#uplinks.delete(vf.pf)
    return { pfName: '', info: undefined }
  }

  /** What a PF tells of its VFs; undefined when that netdev is not the PF's, or not in the host's namespace. */
  async infos(pf: string, name: string, call: Call): Promise<readonly VfInfo[] | undefined> {
    const { kernel, hostNs } = this.#context
    try {
      const [link, infos] = await Promise.all([kernel.link(hostNs, name, call), kernel.vfs(hostNs, name, call)])
      return link !== undefined && isOf(link, pf) ? infos : undefined
    } catch (error) {
      if (refusalOf(error)?.errno === 'ENODEV') return undefined
      throw error
    }
  }
}
