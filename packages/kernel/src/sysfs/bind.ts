/**
 * Which driver a function is bound to. `driver_override` names the one driver that may take it, whatever the device's ids and the
 * PF's `sriov_drivers_autoprobe` say. It stays set only while a user-space driver holds the function; left behind, it would
 * keep the kernel's own driver off for ever.
 */
import { HeddleError, invalid } from '@heddle/core'
import { refusal, withUndo } from './failures.ts'
import type { Io } from './io.ts'
import type { Tree } from './read.ts'

/** Drivers by which a program or a virtual machine has the device itself: the kernel has no netdev of it. */
export function isUserSpaceDriver(driver: string): boolean {
  return /(?:^|[-_])vfio[-_]pci$/.test(driver) || driver === 'uio_pci_generic' || driver === 'igb_uio'
}

export async function bind(io: Io, pci: string, driver: string): Promise<void> {
  const before = await bindingOf(io.tree, pci)
  if (driver === '') return await bindNaturally(io, pci, before)
  const override = isUserSpaceDriver(driver) ? driver : ''
  if (before.driver === driver) return await setOverride(io, pci, override)
  if (!(await hasDriver(io.tree, driver))) {
    throw new HeddleError('unsupported', `driver ${driver} is not loaded on this host`, { field: 'driver', remedy: `load it: modprobe ${driver}` })
  }
  await orPutBack(io, pci, before, () => take(io, pci, driver, override))
}

export async function rebind(io: Io, pci: string): Promise<void> {
  const before = await bindingOf(io.tree, pci)
  if (before.driver === '')
    throw refusal('ENODEV', `rebinding ${pci}, which has no driver`, { path: io.tree.device(pci), remedies: { ENODEV: 'bind it to a driver' } })
  // One that a process left when it was killed here goes.
  const override = isUserSpaceDriver(before.driver) ? before.override : ''
  await orPutBack(io, pci, before, () => take(io, pci, before.driver, override))
}

/** With an override left, no driver would ever take it again. */
export async function unbind(io: Io, pci: string): Promise<void> {
  await orPutBack(io, pci, await bindingOf(io.tree, pci), async () => {
    await release(io, pci)
    await setOverride(io, pci, '')
  })
}

export async function hasDriver(tree: Tree, driver: string): Promise<boolean> {
  if (!/^[\w.+-]+$/.test(driver) || /^\.+$/.test(driver)) throw invalid('driver', `${JSON.stringify(driver)} is no name of a driver`)
  return await tree.exists(tree.driver(driver))
}

interface Binding {
  readonly driver: string
  readonly override: string
}

async function bindingOf(tree: Tree, pci: string): Promise<Binding> {
  const device = tree.device(pci)
  const [driver, override] = await Promise.all([tree.target(`${device}/driver`), tree.text(`${device}/driver_override`)])
  if (override === undefined)
    throw refusal('ENODEV', `a change of driver of ${pci}`, { path: device, remedies: { ENODEV: 'no such PCI device is on this host: see `heddle vf ls`' } })
  return { driver, override: override === '(null)' ? '' : override }
}

async function bindNaturally(io: Io, pci: string, before: Binding): Promise<void> {
  if (before.driver !== '' && !isUserSpaceDriver(before.driver)) return await setOverride(io, pci, '')
  await orPutBack(io, pci, before, async () => {
    await setOverride(io, pci, '')
    await release(io, pci)
    await io.write(`a driver for ${pci}`, { path: io.tree.path('bus/pci/drivers_probe'), value: pci })
  })
}

/** Held by nothing in between but what the override admits, so nobody else's driver takes it. */
async function take(io: Io, pci: string, driver: string, overrideAfter: string): Promise<void> {
  await setOverride(io, pci, driver)
  await release(io, pci)
  const remedies = {
    ENODEV: `${driver} does not take this device: choose the driver that is made for it`,
    EBUSY: 'another driver took the device just now: try again',
    EINVAL: `${driver} does not take this device as it is: an IOMMU may be missing (intel_iommu=on), or its group is shared with a device of another driver`,
  }
  try {
    await io.write(`binding ${pci} to ${driver}`, { path: `${io.tree.driver(driver)}/bind`, value: pci, field: 'driver', remedies })
  } catch (error) {
    // A probe that somebody else asked for meanwhile can only have come to the same.
    if ((await bindingOf(io.tree, pci)).driver !== driver) throw error
  }
  await setOverride(io, pci, overrideAfter)
}

async function release(io: Io, pci: string): Promise<void> {
  const { driver } = await bindingOf(io.tree, pci)
  if (driver === '') return
  await io.write(`unbinding ${pci} from ${driver}`, {
    path: `${io.tree.driver(driver)}/unbind`,
    value: pci,
    remedies: { EBUSY: 'the device is in use: end what uses it' },
  })
}

async function setOverride(io: Io, pci: string, driver: string): Promise<void> {
  if ((await bindingOf(io.tree, pci)).override === driver) return
  // An empty write never reaches the driver core; a line's end clears.
  await io.write(`driver_override of ${pci}`, { path: `${io.tree.device(pci)}/driver_override`, value: `${driver}\n` })
}

async function orPutBack(io: Io, pci: string, before: Binding, change: () => Promise<void>): Promise<void> {
  try {
    await change()
  } catch (error) {
    if (!(await io.tree.exists(io.tree.device(pci)))) throw error
    try {
      await putBack(io, pci, before)
    } catch (undo) {
      throw withUndo(HeddleError.from(error), undo)
    }
    throw error
  }
}

async function putBack(io: Io, pci: string, before: Binding): Promise<void> {
  const { driver } = await bindingOf(io.tree, pci)
  if (driver !== before.driver) {
    if (before.driver === '') await release(io, pci)
    else await take(io, pci, before.driver, before.override)
  }
  await setOverride(io, pci, before.override)
}
