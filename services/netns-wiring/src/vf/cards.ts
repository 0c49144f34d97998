/** One VF as it is now: sysfs, its PF's word, and its netdev while that is in the host's namespace. Reads only. */
import { type Call, HeddleError, raceCall } from '@heddle/core'
import type { LinkInfo, Question, Seen, Step, Sysfs, VfInfo, VirtualFunction } from '@heddle/kernel'
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
  /** VFs as last seen: what cannot change while they are the same is not read again. */
  readonly #known = new Map<string, VirtualFunction>()

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
  async function(pci: string, call: Call): Promise<VirtualFunction | undefined> {
    const known = this.#known.get(pci)
    const vf = await raceCall(this.sysfs.virtualFunction(pci, { atOnce: true, known }), call)
    if (vf === undefined) this.#known.delete(pci)
    // One whose netdev is away is known with it still.
    else if (vf.netdevs.length > 0 || vf.inode !== known?.inode || vf.driver !== known.driver) this.#known.set(pci, vf)
    return vf
  }

  async read(pci: string, call: Call): Promise<VfView | undefined> {
    return (await this.readWith([], pci, call))?.view
  }

  /** And what else is asked, in the same request. */
  async readWith(others: readonly Question[], pci: string, call: Call): Promise<{ readonly view: VfView; readonly others: readonly Seen[] } | undefined> {
    const vf = await this.function(pci, call)
    if (vf === undefined) return undefined
    const { kernel, hostNs: ns } = this.#context
    const name = vf.netdevs[0]?.name
    const asked = [...others, ...(name === undefined ? [] : [{ ns, name }])]
    const whole = (pfName: string, info: VfInfo | undefined, seen: readonly Seen[]) => {
      const link = name === undefined ? undefined : seen.at(-1)?.links[0]
      return { view: { vf, pfName, info, link: link !== undefined && isOf(link, pci) ? link : undefined }, others: seen.slice(0, others.length) }
    }
    // The PF's netdev may have been renamed: then it is read again, once.
    for (const known of [this.#uplinks.get(vf.pf), undefined]) {
      const pfName = known ?? (await raceCall(this.sysfs.physicalFunction(vf.pf), call))?.netdevs[0]?.name
      if (pfName === undefined) break
      const [uplink, ...seen] = await kernel.look([{ ns, name: pfName, vfs: true }, ...asked], call)
      const infos = infosOf(uplink, vf.pf)
      if (infos === undefined) continue
      this.#uplinks.set(vf.pf, pfName)
      return whole(pfName, of(vf, infos), seen)
    }
    this.#uplinks.delete(vf.pf)
    return whole('', undefined, asked.length === 0 ? [] : await kernel.look(asked, call))
  }

  /** The same VF, with what its PF tells of it after these steps: a tenth of reading it whole. */
  async asked(view: VfView, call: Call, after: readonly Step[] = []): Promise<VfView> {
    const infos = view.pfName === '' ? undefined : await this.infos(view.vf.pf, view.pfName, call, after)
    return infos === undefined ? this.get(view.vf.pci, call) : { ...view, info: of(view.vf, infos) }
  }

  /** The same VF after these steps, by which its netdev comes into the host's namespace under this name. Undefined when it is another by then. */
  async after(steps: readonly Step[], name: string, { vf: before, pfName }: VfView, call: Call): Promise<VfView | undefined> {
    const { kernel, hostNs: ns } = this.#context
    const [uplink, own] = await kernel.look(
      [
        { ns, name: pfName, vfs: true },
        { ns, name },
      ],
      call,
      steps,
    )
    const vf = await this.function(before.pci, call)
    const link = own?.links[0]
    const infos = infosOf(uplink, before.pf)
    if (vf?.inode !== before.inode || vf.netdevs[0]?.name !== name || link === undefined || !isOf(link, vf.pci) || infos === undefined) return undefined
    return { vf, pfName, info: of(vf, infos), link }
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

  /** What a PF tells of its VFs after these steps; undefined when that netdev is not the PF's, or not in the host's namespace. */
  async infos(pf: string, name: string, call: Call, after: readonly Step[] = []): Promise<readonly VfInfo[] | undefined> {
    const { kernel, hostNs: ns } = this.#context
    const [uplink] = await kernel.look([{ ns, name, vfs: true }], call, after)
    return infosOf(uplink, pf)
  }
}

function infosOf(uplink: Seen | undefined, pf: string): readonly VfInfo[] | undefined {
  const link = uplink?.links[0]
  return link !== undefined && isOf(link, pf) ? uplink?.vfs : undefined
}

const of = (vf: VirtualFunction, infos: readonly VfInfo[]): VfInfo | undefined => infos.find(({ index }) => index === vf.index)
