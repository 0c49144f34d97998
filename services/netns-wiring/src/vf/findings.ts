/** What `heddle doctor` is told of SR-IOV. Nothing on a host without such a device. */
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import type { Finding } from '@heddle/contract'
import type { VfParts } from './endpoints.ts'
import { stateOf } from './inventory.ts'

export async function vfFindings({ reporter, quarantine, cards }: VfParts): Promise<Finding[]> {
  const { pfs, seen } = reporter
  if (pfs.length === 0) return []
  const ok = (subject: string, message: string): Finding => ({ level: 'ok', subject, message, remedy: '' })
  const warning = (subject: string, message: string, remedy: string): Finding => ({ level: 'warning', subject, message, remedy })
  const states = seen.map((one) => ({ one, ...stateOf(one, reporter.recorded(one), quarantine.reason(one.view.vf)) }))
  const found = pfs.map((pf) => {
    if (pf.names.length === 0 && pf.numVfs > 0) {
      return warning(
        `sriov ${pf.pci}`,
        `PF ${pf.pci} has ${pf.numVfs} VFs but no netdev in the host's namespace: they cannot be set`,
        "give the PF back to the host's namespace and its kernel driver",
      )
    }
    const mine = states.filter(({ one }) => one.pf.pci === pf.pci)
    const ready = mine.filter(({ state }) => state === 'ready').length
    return ok(`sriov ${pf.names[0] ?? pf.pci}`, `${pf.pci}, ${pf.driver}, ${pf.eswitchMode}: ${pf.numVfs} of ${pf.totalVfs} VFs, ${ready} at their baseline`)
  })
  for (const { one, state, reason } of states) {
    const { pci } = one.view.vf
    if (state === 'quarantined')
      found.push(warning(`vf ${pci}`, `VF ${pci} would not go back to its baseline: ${reason}`, `see what uses it, then run "heddle vf repair ${pci}"`))
  }
  if (!reporter.informed) found.push(warning('vf-allocator', 'it has not answered yet: no VF of this host is offered', 'see whether vf-allocator and NATS run'))
  if (seen.length === 0) return found
  if (!(await cards.sysfs.hasDriver('vfio-pci'))) {
    found.push(warning('module vfio-pci', 'it is not loaded', 'only networks with driver vfio-pci need it: modprobe vfio-pci'))
  }
  if (!hasModule('8021q')) {
    found.push(warning('module 8021q', 'this kernel does not have it', 'only VLAN trunks on cards without a trunk file need it: install the module'))
  }
  return found
}

/** Loaded, built in, or there to be loaded; the kernel loads 8021q by itself when a subinterface is made. */
function hasModule(name: string): boolean {
  const folder = `/lib/modules/${release()}`
  const lists = ['/proc/modules', `${folder}/modules.builtin`, `${folder}/modules.dep`]
  return lists.some((list) => {
    try {
      return new RegExp(`(?:^|/)${name}(?:\\.ko| )`, 'm').test(readFileSync(list, 'utf8'))
    } catch {
      return false
    }
  })
}
