/** From a VF as it is to a VF as it is wanted, as kernel steps: pure. */
import type { VfSettings } from '@heddle/contract'
import type { LinkInfo, MoveLink, Namespace, SetVf, Step, VfInfo, VfLinkState } from '@heddle/kernel'
import { noMac, type VfShape, vlansOf } from './shape.ts'

/** A VF as its PF addresses it. */
export interface AtPf {
  readonly ns: Namespace
  /** The PF's netdev. */
  readonly name: string
  readonly vf: number
}

/** A PF that sets no MAC is as good as one that sets the VF's own: drivers tell the one or the other (igb, i40e: whatever the VF uses). */
export function sameAdminMac(is: string, wanted: string, own: string): boolean {
  const either = (mac: string) => mac === noMac || (mac === own && own !== '')
  return is === wanted || (either(is) && either(wanted))
}

/** One request with every setting that differs, undefined when none does. `own`: the MAC the VF has by itself, empty where that does not count. */
export function adminStep(at: AtPf, is: VfInfo, wanted: VfSettings, own: string): SetVf | undefined {
  const vlan = { id: wanted.vlan ?? is.vlan, qos: wanted.vlanQos ?? is.qos, protocol: protocolOf(wanted.vlanProto) ?? is.protocol }
  const rate = { min: wanted.minTxRate ?? is.minTxRate ?? 0, max: wanted.maxTxRate ?? is.maxTxRate ?? 0 }
  const changes = {
    ...(wanted.mac !== undefined && !sameAdminMac(is.mac, wanted.mac, own) ? { mac: wanted.mac } : {}),
    ...(vlan.id !== is.vlan || vlan.qos !== is.qos || vlan.protocol !== is.protocol ? { vlan } : {}),
    ...(rate.min !== (is.minTxRate ?? 0) || rate.max !== (is.maxTxRate ?? 0) ? { rate } : {}),
    ...(wanted.spoofchk !== undefined && wanted.spoofchk !== is.spoofchk ? { spoofchk: wanted.spoofchk } : {}),
    ...(wanted.trust !== undefined && wanted.trust !== is.trust ? { trust: wanted.trust } : {}),
    ...(wanted.linkState !== undefined && wanted.linkState !== (is.linkState ?? 'auto') ? { linkState: wanted.linkState as VfLinkState } : {}),
  }
  return Object.keys(changes).length === 0 ? undefined : { op: 'vf.set', ...at, ...changes }
}

const protocolOf = (text: string | undefined) => (text === '802.1ad' || text === '802.1q' ? text : undefined)

/** The same as one request for each setting, in the kernel's order: which of them a driver does not take. `setting` as in the contract. */
export function singleSettings(step: SetVf): { readonly setting: string; readonly value: string; readonly step: SetVf }[] {
  const at = { op: step.op, ns: step.ns, name: step.name, vf: step.vf } as const
  const singles: { setting: string; value: string; step: SetVf }[] = []
  const add = (setting: string, value: unknown, changes: Partial<SetVf>) => singles.push({ setting, value: String(value), step: { ...at, ...changes } })
  const { mac, vlan, rate, spoofchk, trust, linkState } = step
  if (mac !== undefined) add('mac', mac, { mac })
  if (vlan !== undefined) {
    add('vlan', vlan.id, { vlan: { id: vlan.id, qos: 0, protocol: '802.1q' } })
    if (vlan.qos !== 0) add('vlanQos', vlan.qos, { vlan: { ...vlan, protocol: '802.1q' } })
    if (vlan.protocol !== '802.1q') add('vlanProto', vlan.protocol, { vlan })
  }
  if (rate !== undefined) {
    add('maxTxRate', rate.max, { rate: { min: 0, max: rate.max } })
    if (rate.min !== 0) add('minTxRate', rate.min, { rate })
  }
  if (spoofchk !== undefined) add('spoofchk', spoofchk ? 'on' : 'off', { spoofchk })
  if (trust !== undefined) add('trust', trust ? 'on' : 'off', { trust })
  if (linkState !== undefined) add('linkState', linkState, { linkState })
  return singles
}

/**
 * Settled where the shape says, the last step at once or not at all. The netdev as it is in the host's namespace: a MAC it has is not set, for which its driver would ask the PF. Docker's only gets
 * another name there, for which it has to be down before Linux 6.2: dockerd moves it and sets it up.
 */
export function moveIn(shape: VfShape, ns: Namespace, { name, mac: has }: Pick<LinkInfo, 'name' | 'mac'>): Step[] {
  const { mac, mtu, alias, sandbox } = shape
  const move = { op: 'link.move', ns, name, rename: shape.interfaceName, ...(has === mac ? {} : { mac }), ...(mtu === 0 ? {} : { mtu }), alias } as const
  if (sandbox !== '') return [{ ...move, to: { path: sandbox }, up: true }]
  return [
    { op: 'link.set', ns, name, up: false },
    { ...move, to: ns },
  ]
}

/** Out of the sandbox under its name on the host, down: nothing of the container is sent from here on, whatever is reset next. */
export function moveOut(ns: Namespace, name: string, to: Namespace, rename: string): MoveLink {
  return { op: 'link.move', ns, name, to, up: false, ...(rename === name ? {} : { rename }) }
}

/** Subinterfaces where the PF has no trunk file: in-tree drivers admit a tag when the VF's own driver asks for it. */
export function trunkSteps(shape: VfShape): Step[] {
  const ns = { path: shape.sandbox }
  return vlansOf(shape.trunk).map((vlan) => ({
    op: 'vlan.add',
    ns,
    link: shape.interfaceName,
    name: `${shape.interfaceName}.${vlan}`,
    vlan,
    up: true,
    tolerate: ['EEXIST'],
  }))
}

/** `add 2-5,7` in the PF's trunk file. */
export function trunkText(shape: VfShape): string {
  return `add ${shape.trunk.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',')}`
}
export const noTrunkText = 'rem 1-4094'
