/** How many VFs a PF has (Documentation/PCI/pci-iov-howto.rst, drivers/pci/iov.c). */
import { HeddleError, invalid } from '@heddle/core'
import { refusal, withUndo } from './failures.ts'
import type { Io } from './io.ts'

const noSupport = 'bind the PF to a driver that makes VFs (`heddle pf ls` shows its driver), or enable SR-IOV in the firmware of the card'
const noRoom = 'enable SR-IOV and decoding above 4 GiB in the firmware of the host, or boot with pci=realloc'

/** Nothing is changed when the card cannot have as many; when the driver fails half way, the number there was is asked for again. */
export async function setNumVfs(io: Io, pf: string, count: number, autoprobe: boolean | undefined): Promise<void> {
  const device = io.tree.device(pf)
  const [total, before, probes] = await Promise.all([
    io.tree.number(`${device}/sriov_totalvfs`),
    io.tree.number(`${device}/sriov_numvfs`),
    io.tree.text(`${device}/sriov_drivers_autoprobe`),
  ])
  if (total === undefined || total === 0 || before === undefined) {
    throw new HeddleError('pf-unknown', `${pf} is no device of this host that can have VFs`, { field: 'pf', remedy: 'see `heddle pf ls`' })
  }
  if (!Number.isInteger(count) || count < 0) throw invalid('numVfs', `${count} is no number of VFs`)
  const remedies = {
    EBUSY: 'its VFs are in use, or somebody else made VFs just now: end what uses them, see `heddle vf ls`, and try again',
    EPERM: 'a VF is assigned to a virtual machine, or netns-wiring may not write to /sys: end the machine, or run netns-wiring as root',
    ERANGE: `the card has ${total} VFs at most`,
    ENOENT: noSupport,
    ENOSYS: noSupport,
    EOPNOTSUPP: noSupport,
    ENOMEM: noRoom,
    EIO: noRoom,
  }
  const path = `${device}/sriov_numvfs`
  const attempt = (value: string) => ({ path, value, field: 'numVfs', remedies })
  const what = `${count} VFs on ${pf}`
  if (count > total) throw refusal('ERANGE', what, attempt(String(count)))

  const wanted = autoprobe === undefined ? probes : autoprobe ? '1' : '0'
  const setAutoprobe = async (value: string | undefined) => {
    if (value === undefined || (await io.tree.text(`${device}/sriov_drivers_autoprobe`)) === value) return
    await io.write(`sriov_drivers_autoprobe of ${pf}`, { path: `${device}/sriov_drivers_autoprobe`, value })
  }
  const goTo = async (number: number) => {
    const now = (await io.tree.number(path)) ?? 0
    if (now === number) return
    // From one number to another the kernel goes only by way of none.
    if (now > 0) await io.write(`removing the VFs of ${pf}`, attempt('0'))
    if (number > 0) await io.write(what, attempt(String(number)))
    const made = await io.tree.number(path)
    if (made === number) return
    throw new HeddleError('kernel-refused', `the driver of ${pf} made ${made ?? 0} VFs of the ${number} asked for`, {
      field: 'numVfs',
      remedy: 'ask for fewer, and see the kernel log',
      details: { path, value: String(number) },
    })
  }
  try {
    await setAutoprobe(wanted)
    await goTo(count)
  } catch (error) {
    try {
      await setAutoprobe(probes)
      await goTo(before)
    } catch (undo) {
      throw withUndo(HeddleError.from(error), undo)
    }
    throw error
  }
}
