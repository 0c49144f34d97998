/** One PCI function of the made-up tree: its files, what its driver adds when it is bound, its netdevs coming and going. */
import { createHash } from 'node:crypto'
import type { FunctionDescription, NetdevDescription } from './description.ts'
import type { Files } from './files.ts'

interface Present {
  readonly description: NetdevDescription
  name: string
  /** Folder below the root; undefined while it is in another namespace. */
  folder: string | undefined
}

export class MadeUpFunction {
  readonly description: FunctionDescription
  /** Folder below the root. */
  readonly folder: string
  readonly netdevs: Present[] = []
  driver = ''
  override = ''
  readonly #files: Files
  readonly #seed: string
  readonly #number: number

  constructor(files: Files, description: FunctionDescription, seed: string, number: number) {
    this.description = description
    this.#files = files
    this.#seed = seed
    this.#number = number
    const { pci, vendor, device, numaNode = 0, iommu = true } = description
    this.folder = `devices/pci${pci.split(':').slice(0, 2).join(':')}/${pci}`
    const values = {
      vendor: `0x${vendor}`,
      device: `0x${device}`,
      class: `0x${description.class ?? '020000'}`,
      numa_node: numaNode,
      driver_override: '(null)',
    }
    const links = { subsystem: 'bus/pci', ...(iommu ? { iommu_group: `kernel/iommu_groups/${number}` } : {}) }
    if (iommu) files.folder(`kernel/iommu_groups/${number}`)
    files.add(this.folder, values, links)
    // Seen only once it is whole.
    files.link(`bus/pci/devices/${pci}`, this.folder)
  }

  get pci(): string {
    return this.description.pci
  }

  bind(driver: string): void {
    this.driver = driver
    this.#files.link(`${this.folder}/driver`, `bus/pci/drivers/${driver}`)
    this.#files.link(`bus/pci/drivers/${driver}/${this.pci}`, this.folder)
    if (driver !== this.description.driver) return
    const { below, vdpa, rdma, netdevs = [] } = this.description
    if (vdpa !== undefined) this.#files.folder(`${this.folder}/vdpa${vdpa}${below === 'vdpa' ? '' : `/vhost-vdpa-${vdpa}`}`)
    if (rdma !== undefined) {
      for (const name of [
        `infiniband/${rdma}`,
        `infiniband_verbs/uverbs${this.#number}`,
        `infiniband_mad/umad${this.#number}`,
        `infiniband_mad/issm${this.#number}`,
      ]) {
        this.#files.folder(`${this.folder}/${name}`)
      }
    }
    for (const netdev of netdevs) this.addNetdev(netdev)
  }

  unbind(): void {
    // Those in other namespaces too: the driver unregisters its netdevs wherever they are.
    for (const present of this.netdevs.splice(0)) this.#hide(present)
    for (const name of ['driver', 'net', 'virtio0', 'infiniband', 'infiniband_verbs', 'infiniband_mad', `vdpa${this.description.vdpa ?? ''}`])
      this.#files.delete(`${this.folder}/${name}`)
    this.#files.delete(`bus/pci/drivers/${this.driver}/${this.pci}`)
    this.driver = ''
  }

  setOverride(driver: string): void {
    this.override = driver
    this.#files.put(`${this.folder}/driver_override`, driver === '' ? '(null)' : driver)
  }

  remove(): void {
    if (this.driver !== '') this.unbind()
    this.#files.delete(`bus/pci/devices/${this.pci}`)
    this.#files.bury(this.folder)
  }

  /** `folder`: where it is, when not below this function. */
  addNetdev(description: NetdevDescription, folder = this.#netFolder()): void {
    const present: Present = { description, name: description.name, folder: undefined }
    this.netdevs.push(present)
    this.#show(present, folder)
  }

  dropNetdev(name: string): void {
    const present = this.#named(name)
    this.#hide(present)
    this.netdevs.splice(this.netdevs.indexOf(present), 1)
  }

  /** Into another namespace, of which this tree shows nothing. */
  takeNetdev(name: string): void {
    this.#hide(this.#named(name))
  }

  /** What was taken first comes back, under whatever name. */
  returnNetdev(name: string): void {
    const present = this.netdevs.find(({ folder }) => folder === undefined)
    if (present === undefined) throw new RangeError(`no netdev of ${this.pci} is away`)
    present.name = name
    this.#show(present, this.#netFolder())
  }

  renameNetdev(name: string, to: string): void {
    const present = this.#named(name)
    const { folder } = present
    this.#files.delete(`class/net/${name}`)
    present.name = to
    if (folder === undefined) return
    present.folder = folder.replace(/[^/]+$/, to)
    this.#files.move(folder, present.folder)
    this.#files.link(`class/net/${to}`, present.folder)
  }

  /** One of its files: `address`, `mtu`, `carrier`. */
  setNetdev(name: string, file: string, value: string): void {
    this.#files.put(`${this.#named(name).folder}/${file}`, value)
  }

  #named(name: string): Present {
    const present = this.netdevs.find((netdev) => netdev.name === name && netdev.folder !== undefined)
    if (present === undefined) throw new RangeError(`${this.pci} has no netdev ${name} here`)
    return present
  }

  #netFolder(): string {
    const { below, vdpa } = this.description
    const between = below === 'vdpa' ? `/vdpa${vdpa}/virtio0` : below === 'virtio' ? '/virtio0' : ''
    return `${this.folder}${between}/net`
  }

  #show(present: Present, folder: string): void {
    const {
      mac = this.#mac(present.description.devPort ?? 0),
      mtu = 1500,
      carrier = true,
      type = 1,
      physSwitchId,
      physPortName,
      devPort = 0,
    } = present.description
    const path = `${folder}/${present.name}`
    const values = {
      address: mac,
      mtu,
      carrier: carrier ? 1 : 0,
      operstate: carrier ? 'up' : 'down',
      type,
      dev_port: devPort,
      ...(physSwitchId === undefined ? {} : { phys_switch_id: physSwitchId }),
      ...(physPortName === undefined ? {} : { phys_port_name: physPortName }),
    }
    this.#files.add(path, values, folder.startsWith('devices/virtual') ? {} : { device: folder.replace(/\/net$/, '') })
    this.#files.link(`class/net/${present.name}`, path)
    present.folder = path
  }

  #hide(present: Present): void {
    if (present.folder === undefined) return
    this.#files.delete(present.folder)
    this.#files.delete(`class/net/${present.name}`)
    present.folder = undefined
  }

  #mac(port: number): string {
    const hash = createHash('sha256').update(`${this.#seed} ${this.pci} ${port}`).digest('hex')
    return ['02', ...(hash.slice(0, 10).match(/../g) ?? [])].join(':')
  }
}
