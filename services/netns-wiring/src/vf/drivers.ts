/** Which kernel driver a VF is bound to, and what has to be bound anew. */
import { type Call, HeddleError, remainingMs, sleep } from '@heddle/core'
import { isUserSpaceDriver, type LinkInfo, type VirtualFunction } from '@heddle/kernel'
import type { Cards, VfView } from './cards.ts'

/**
 * Take the MAC their PF sets only when they are bound: igbvf goes on with the old one, and the PF drops its frames ("Reload the VF
 * driver"). Others follow by themselves, or are bound anew when they have not in time.
 */
const takeMacWhenBound: ReadonlySet<string> = new Set(['igbvf'])

/**
 * Bound while their PF resets, they know nothing of it ("PF still in reset state"): no link for eight seconds or more, no MAC filter,
 * and VLANs refused with EINVAL. The PF resets whenever its VFs are made.
 */
const wantReadyPf: ReadonlySet<string> = new Set(['igbvf'])

const netdevWaitMs = 5000
const pollMs = 20

export class Drivers {
  readonly #cards: Cards

  constructor(cards: Cards) {
    this.#cards = cards
  }

  needsRebind(driver: string, macChanged: boolean): boolean {
    return macChanged && takeMacWhenBound.has(driver)
  }

  wantsReadyPf(driver: string): boolean {
    return wantReadyPf.has(driver)
  }

  /** Binds to vfio-pci. Throws unsupported. */
  async bindUserSpace({ vf }: VfView, driver: string, call: Call): Promise<void> {
    const refuse = (message: string, remedy: string) =>
      new HeddleError('unsupported', message, { field: 'endpoint.vf.driver', remedy, details: { pci: vf.pci, driver, setting: 'driver' } })
    if (vf.iommuGroup === '') {
      throw refuse(
        `VF ${vf.pci} is in no IOMMU group, so ${driver} cannot hand it to a container`,
        'switch the IOMMU on in the firmware and boot with intel_iommu=on or amd_iommu=on',
      )
    }
    if (!(await this.#cards.sysfs.hasDriver(driver))) throw refuse(`the kernel of this host has no driver ${driver}`, `load it: modprobe ${driver}`)
    await this.#cards.sysfs.bind(vf.pci, driver, call)
  }

  /** Back to the driver of a baseline; waits for its netdev. `named`: the baseline has one. */
  async bindBack(pci: string, driver: string, named: boolean, call: Call): Promise<LinkInfo | undefined> {
    if (driver === '') await this.#cards.sysfs.unbind(pci, call)
    // Not whatever matches: a driver somebody bound by hand would be left bound.
    else await this.#cards.sysfs.bind(pci, driver, call)
    return named ? this.netdev(pci, call) : undefined
  }

  /** A process that was killed while it bound the function's own driver anew left that as its override, and other drivers could not have it. */
  async clearOverride({ pci, driver }: VirtualFunction, call: Call): Promise<void> {
    if (driver !== '' && !isUserSpaceDriver(driver)) await this.#cards.sysfs.bind(pci, driver, call)
  }

  /** Unbinds and binds again; its netdev, from wherever it was, is then in the host's namespace. */
  async rebind(pci: string, call: Call): Promise<LinkInfo | undefined> {
    await this.#cards.sysfs.rebind(pci, call)
    return this.netdev(pci, call)
  }

  /** Waits for the netdev: some drivers register it after they are bound. Undefined when it does not come. */
  async netdev(pci: string, call: Call, withinMs = netdevWaitMs): Promise<LinkInfo | undefined> {
    const endMs = call.clock.monotonicMs() + Math.min(withinMs, remainingMs(call))
    for (;;) {
      const vf = await this.#cards.function(pci, call)
      const link = vf === undefined ? undefined : await this.#cards.linkOf(vf, call)
      if (link !== undefined || vf === undefined || call.clock.monotonicMs() >= endMs) return link
      await sleep(call.clock, pollMs, call.signal)
    }
  }
}

/** Device nodes a container needs for a function bound to vfio-pci (Documentation/driver-api/vfio.rst). */
export function deviceNodes(driver: string, iommuGroup: string): string[] {
  return driver === 'vfio-pci' && iommuGroup !== '' ? ['/dev/vfio/vfio', `/dev/vfio/${iommuGroup}`] : []
}
