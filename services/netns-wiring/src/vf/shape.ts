/** What an endpoint wants of its VF, from the records: the desired half of every comparison. Pure. */
import type { Endpoint, Network, VfBaseline, VfSettings, VlanRange } from '@heddle/contract'
import { HeddleError, invalid } from '@heddle/core'
import { endpointAlias, waitingVfName } from '../domain/names.ts'

/** An administrative MAC that sets none. */
export const noMac = '00:00:00:00:00:00'

export interface VfShape {
  readonly id: string
  readonly networkId: string
  readonly alias: string
  readonly pci: string
  readonly baseline: VfBaseline
  /** Every setting of the PF as it is to be: the baseline's where nothing is asked for. */
  readonly settings: VfSettings
  /** Of the netdev. */
  readonly mac: string
  readonly mtu: number
  /** User-space driver; empty: the netdev goes into the sandbox. */
  readonly driver: string
  /** Empty: the engine moves the netdev itself (Docker). */
  readonly sandbox: string
  /** Inside the sandbox; without one, on the host. */
  readonly interfaceName: string
  readonly trunk: readonly VlanRange[]
}

/** Subinterfaces a trunk may need where the driver has no trunk file. */
export const mostSubinterfaces = 64

/** Throws invalid-argument, unsupported. */
export function vfShape(network: Network, endpoint: Endpoint, baseline: VfBaseline): VfShape {
  const vf = endpoint.vf
  if (vf === undefined) throw invalid('endpoint.vf', `endpoint ${endpoint.id} has no VF, but network ${network.name} is of kind sriov`)
  if (vf.driver !== '' && vf.driver !== 'vfio-pci') {
    throw new HeddleError('unsupported', `VF ${vf.pci} cannot be handed to a container by driver ${JSON.stringify(vf.driver)}`, {
      field: 'endpoint.vf.driver',
      remedy: 'use vfio-pci, or leave the driver out',
      details: { pci: vf.pci, setting: 'driver' },
    })
  }
  const asked = definedOf(vf.settings)
  const was = definedOf(baseline.settings)
  // The VF's own MAC needs no setting, and so no driver bound anew; without a netdev only the PF can set one.
  const own = vf.driver === '' && asked.mac === undefined && endpoint.mac === baseline.mac
  const mac = own ? was.mac : endpoint.mac
  const mtu = asked.mtu ?? (network.mtu || (was.mtu ?? 0))
  return {
    id: endpoint.id,
    networkId: network.id,
    alias: endpointAlias(endpoint.id, network.id),
    pci: vf.pci,
    baseline,
    settings: { ...was, ...asked, ...(mac === undefined ? {} : { mac }), trunk: [] },
    mac: endpoint.mac,
    mtu,
    driver: vf.driver,
    sandbox: endpoint.sandbox,
    interfaceName: endpoint.sandbox === '' ? waitingVfName(endpoint.id) : endpoint.interfaceName,
    trunk: vf.settings?.trunk ?? [],
  }
}

export function sameShape(a: VfShape, b: VfShape): boolean {
  return JSON.stringify({ ...a, baseline: undefined }) === JSON.stringify({ ...b, baseline: undefined })
}

/** Each VLAN of a trunk, ascending. */
export function vlansOf(trunk: readonly VlanRange[]): number[] {
  const vlans = new Set<number>()
  for (const { first, last } of trunk) for (let vlan = first; vlan <= last; vlan++) vlans.add(vlan)
  return [...vlans].sort((a, b) => a - b)
}

/** Fields that are set; a decoded message has the others as undefined. */
function definedOf(settings: VfSettings | undefined): Partial<VfSettings> {
  return Object.fromEntries(Object.entries(settings ?? {}).filter(([name, value]) => value !== undefined && name !== 'trunk'))
}
