/**
 * A made-up /sys that behaves: real files and links as the kernel lays them out, and a `write` with the kernel's effects and
 * refusals, for `openSysfs(tree.root, tree)`. The effect of a write is there when it resolves, and not before.
 */
import type { SysfsDescription } from './description.ts'
import { Files } from './files.ts'
import { errno, MadeUpKernel } from './kernel.ts'
import { changeTrunk } from './trunk.ts'

export type { FunctionDescription, NetdevDescription, SysfsDescription, VfsDescription } from './description.ts'
export { vfAddress } from './kernel.ts'
export { type Placed, presets } from './presets.ts'

export class MadeUpSysfs {
  readonly root: string
  readonly bootIdPath: string
  /** Awaited before each write takes effect: throw from it for a refusal, let it hang for a driver that does. `path` is below the root. */
  beforeWrite: (path: string, value: string) => Promise<void> | void = () => {}
  /** What was written, in order: `bus/pci/drivers_probe=0000:3b:02.0`. */
  readonly written: string[] = []
  readonly #files = new Files()
  readonly #kernel: MadeUpKernel

  constructor(description: SysfsDescription) {
    this.root = this.#files.root
    this.bootIdPath = this.#files.bootIdPath
    this.boot('6c1f9d2e-0000-4000-8000-000000000001')
    this.#kernel = new MadeUpKernel(this.#files, description)
  }

  readonly write = async (path: string, value: string): Promise<void> => {
    const below = path.slice(this.root.length + 1)
    this.written.push(`${below}=${value.trim()}`)
    await this.beforeWrite(below, value.trim())
    this.#react(below, value.trim())
  }

  /** Addresses of a PF's VFs, by index. */
  vfs(pf: string): readonly string[] {
    return this.#kernel.vfsOf(pf)
  }

  /** Names of its netdevs that are in the host's namespace, representors included. */
  netdevs(pci: string): readonly string[] {
    return this.#kernel.function(pci).netdevs.flatMap(({ name, folder }) => (folder === undefined ? [] : [name]))
  }

  /** How many of its netdevs are in other namespaces. */
  away(pci: string): number {
    return this.#kernel.function(pci).netdevs.filter(({ folder }) => folder === undefined).length
  }

  /** Somebody else writes it: through 0. */
  setNumVfs(pf: string, count: number): void {
    this.#kernel.setNumVfs(pf, 0)
    this.#kernel.setNumVfs(pf, count)
  }

  /** A netdev moves into another namespace; answers whose it was. */
  takeNetdev(name: string): string {
    const fn = this.#withNetdev(name)
    fn.takeNetdev(name)
    return fn.pci
  }

  /** A netdev of the function comes back from another namespace. */
  returnNetdev(pci: string, name: string): void {
    this.#kernel.function(pci).returnNetdev(name)
  }

  renameNetdev(name: string, to: string): void {
    this.#withNetdev(name).renameNetdev(name, to)
  }

  setMac(name: string, mac: string): void {
    this.#withNetdev(name).setNetdev(name, 'address', mac)
  }

  setMtu(name: string, mtu: number): void {
    this.#withNetdev(name).setNetdev(name, 'mtu', String(mtu))
  }

  setCarrier(name: string, on: boolean): void {
    const fn = this.#withNetdev(name)
    fn.setNetdev(name, 'carrier', on ? '1' : '0')
    fn.setNetdev(name, 'operstate', on ? 'up' : 'down')
  }

  /** Pulled out of its slot, a PF with all of its VFs. */
  removeFunction(pci: string): void {
    this.#kernel.remove(pci)
  }

  loadDriver(driver: string): void {
    this.#kernel.loadDriver(driver)
  }

  /** Another boot, by its id. What is in the tree stays. */
  boot(id: string): void {
    this.#files.put('../boot_id', id)
  }

  remove(): void {
    this.#files.remove()
  }

  #withNetdev(name: string) {
    const fn = [...this.#kernel.functions.values()].find(({ netdevs }) => netdevs.some((netdev) => netdev.name === name && netdev.folder !== undefined))
    if (fn === undefined) throw new RangeError(`there is no netdev ${name} in the host's namespace`)
    return fn
  }

  #react(path: string, value: string): void {
    const kernel = this.#kernel
    const [, driver = '', verb] = /^bus\/pci\/drivers\/([^/]+)\/(bind|unbind)$/.exec(path) ?? []
    const [, pci = '', file = ''] = /^bus\/pci\/devices\/([^/]+)\/(.+)$/.exec(path) ?? []
    if (path === 'bus/pci/drivers_probe') kernel.probe(value)
    else if (verb === 'bind') kernel.bind(driver, value)
    else if (verb === 'unbind') kernel.unbind(driver, value)
    else if (file === 'sriov_numvfs') kernel.setNumVfs(pci, Number(value))
    else if (file === 'sriov_drivers_autoprobe') kernel.setAutoprobe(pci, value === '1')
    else if (file === 'driver_override') kernel.function(pci).setOverride(value)
    else if (/^sriov\/\d+\/trunk$/.test(file)) changeTrunk(this.#files.path(path), value)
    else throw errno('EACCES', `${path} is not written by anybody`)
  }
}

export function madeUpSysfs(description: SysfsDescription): MadeUpSysfs {
  return new MadeUpSysfs(description)
}
