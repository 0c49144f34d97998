/** What the kernel does with its PCI functions: VFs made and removed, drivers matched, bound and unbound (drivers/pci, drivers/base). */
import type { FunctionDescription, SysfsDescription, VfsDescription } from './description.ts'
import type { Files } from './files.ts'
import { MadeUpFunction } from './function.ts'

export function errno(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code })
}

export class MadeUpKernel {
  readonly functions = new Map<string, MadeUpFunction>()
  readonly #files: Files
  readonly #seed: string
  readonly #drivers = new Set<string>()
  readonly #autoprobe = new Map<string, boolean>()
  readonly #vfs = new Map<string, string[]>()
  #numbers = 0
  #vdpas = 0

  constructor(files: Files, description: SysfsDescription) {
    this.#files = files
    this.#seed = description.seed ?? ''
    for (const folder of ['bus/pci/devices', 'bus/pci/drivers', 'class/net']) files.folder(folder)
    files.put('bus/pci/drivers_probe', '')
    const named = description.functions.flatMap(({ driver, vfs }) => [driver, vfs?.driver ?? ''])
    for (const driver of [...named, ...(description.drivers ?? ['vfio-pci'])]) if (driver !== '') this.loadDriver(driver)
    for (const one of description.functions) this.#add(one)
    for (const { pci, vfs } of description.functions) if (vfs?.count !== undefined && vfs.count > 0) this.setNumVfs(pci, vfs.count)
  }

  loadDriver(driver: string): void {
    this.#drivers.add(driver)
    for (const file of ['bind', 'unbind']) this.#files.put(`bus/pci/drivers/${driver}/${file}`, '')
  }

  function(pci: string): MadeUpFunction {
    const found = this.functions.get(pci)
    if (found === undefined) throw errno('ENODEV', `there is no ${pci}`)
    return found
  }

  vfsOf(pf: string): readonly string[] {
    return this.#vfs.get(pf) ?? []
  }

  setAutoprobe(pf: string, on: boolean): void {
    this.#autoprobe.set(pf, on)
    this.#files.put(`${this.function(pf).folder}/sriov_drivers_autoprobe`, on ? '1' : '0')
  }

  setNumVfs(pci: string, count: number): void {
    const pf = this.function(pci)
    const { vfs } = pf.description
    if (vfs === undefined || pf.driver !== pf.description.driver) throw errno('ENOENT', `the driver of ${pci} makes no VFs`)
    const now = this.vfsOf(pci).length
    if (!Number.isInteger(count) || count < 0) throw errno('EINVAL', String(count))
    if (count > vfs.total) throw errno('ERANGE', `${count} of ${vfs.total}`)
    if (count === now) return
    if (count > 0 && now > 0) throw errno('EBUSY', `${now} VFs already enabled`)
    if (count === 0) this.#removeVfs(pf)
    else for (let index = 0; index < count; index++) this.#addVf(pf, vfs, index)
    this.#files.put(`${pf.folder}/sriov_numvfs`, String(count))
  }

  bind(driver: string, pci: string): void {
    const fn = this.function(pci)
    if (fn.driver !== '') throw errno('EBUSY', `${pci} is bound to ${fn.driver}`)
    if (!this.#admits(fn, driver)) throw errno('ENODEV', `${driver} does not match ${pci}`)
    if (/vfio/.test(driver) && fn.description.iommu === false) throw errno('EINVAL', `${pci} has no IOMMU group`)
    fn.bind(driver)
  }

  unbind(driver: string, pci: string): void {
    const fn = this.function(pci)
    if (fn.driver !== driver) throw errno('ENODEV', `${pci} is not bound to ${driver}`)
    // A PF's driver takes its VFs with it.
    if (this.vfsOf(pci).length > 0) this.setNumVfs(pci, 0)
    fn.unbind()
  }

  /** What matches is bound; that nothing does is no failure. */
  probe(pci: string): void {
    const fn = this.function(pci)
    const driver = fn.override === '' ? fn.description.driver : fn.override
    if (fn.driver === '' && this.#drivers.has(driver) && this.#admits(fn, driver)) this.bind(driver, pci)
  }

  /** Pulled out. */
  remove(pci: string): void {
    const fn = this.function(pci)
    this.#removeVfs(fn)
    fn.remove()
    this.functions.delete(pci)
  }

  #admits(fn: MadeUpFunction, driver: string): boolean {
    if (fn.override !== '') return fn.override === driver
    const pf = this.#pfOf(fn.pci)
    return driver === fn.description.driver && (pf === undefined || this.#autoprobe.get(pf) === true)
  }

  #pfOf(vf: string): string | undefined {
    return [...this.#vfs].find(([, vfs]) => vfs.includes(vf))?.[0]
  }

  #add(description: FunctionDescription): MadeUpFunction {
    const fn = new MadeUpFunction(this.#files, description, this.#seed, this.#numbers++)
    this.functions.set(fn.pci, fn)
    if (description.vfs !== undefined) {
      this.#files.put(`${fn.folder}/sriov_totalvfs`, String(description.vfs.total))
      this.#files.put(`${fn.folder}/sriov_numvfs`, '0')
      this.setAutoprobe(fn.pci, description.vfs.autoprobe ?? true)
    }
    if (description.driver !== '' && this.#pfOf(fn.pci) === undefined) this.probe(fn.pci)
    return fn
  }

  #addVf(pf: MadeUpFunction, vfs: VfsDescription, index: number): void {
    const pci = vfAddress(pf.pci, vfs, index)
    const { vendor, iommu = true, numaNode = 0, netdevs = [], rdma } = pf.description
    this.#vfs.set(pf.pci, [...this.vfsOf(pf.pci), pci])
    const vf = this.#add({
      pci,
      vendor,
      device: vfs.device,
      driver: vfs.driver,
      iommu,
      numaNode,
      ...(pf.description.class === undefined ? {} : { class: pf.description.class }),
      netdevs: netdevs.map(({ mac: _, physSwitchId: __, physPortName: ___, carrier: ____, ...netdev }) => ({ ...netdev, name: `${netdev.name}v${index}` })),
      ...(vfs.below === undefined ? {} : { below: vfs.below }),
      ...(vfs.below === 'vdpa' ? { vdpa: this.#vdpas++ } : {}),
      ...(vfs.rdma === true && rdma !== undefined ? { rdma: `${rdma}v${index}` } : {}),
    })
    this.#files.link(`${vf.folder}/physfn`, pf.folder)
    if (vfs.trunk === true) this.#files.put(`${pf.folder}/sriov/${index}/trunk`, '')
    this.#files.link(`${pf.folder}/virtfn${index}`, vf.folder)
    this.#addRepresentor(pf, vfs, index)
    this.probe(pci)
  }

  #addRepresentor(pf: MadeUpFunction, vfs: VfsDescription, index: number): void {
    const [uplink] = pf.description.netdevs ?? []
    if (vfs.representors === undefined || uplink?.physSwitchId === undefined) return
    const number = uplink.physPortName?.slice(1) ?? '0'
    const representor = { name: `${uplink.name}_${index}`, physSwitchId: uplink.physSwitchId, physPortName: `pf${number}vf${index}` }
    if (vfs.representors === 'apart') pf.addNetdev(representor, 'devices/virtual/net')
    else pf.addNetdev(representor)
  }

  #removeVfs(pf: MadeUpFunction): void {
    for (const { name, description } of [...pf.netdevs]) if (/^pf\d+vf\d+$/.test(description.physPortName ?? '')) pf.dropNetdev(name)
    for (const [index, pci] of this.vfsOf(pf.pci).entries()) {
      this.#files.delete(`${pf.folder}/virtfn${index}`)
      this.function(pci).remove()
      this.functions.delete(pci)
    }
    this.#files.delete(`${pf.folder}/sriov`)
    this.#vfs.delete(pf.pci)
  }
}

/** By routing id (bus, device, function as 16 bits), carried into the next bus. */
export function vfAddress(pf: string, { offset, stride }: Pick<VfsDescription, 'offset' | 'stride'>, index: number): string {
  const [domain = '', bus = '', device = '', fn = ''] = pf.split(/[:.]/)
  const id = (Number.parseInt(bus, 16) << 8) + (Number.parseInt(device, 16) << 3) + Number(fn) + offset + index * stride
  const hex = (value: number) => value.toString(16).padStart(2, '0')
  return `${domain}:${hex(id >> 8)}:${hex((id >> 3) & 31)}.${id & 7}`
}
