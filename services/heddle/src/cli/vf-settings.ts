/** What a VF is set to and which VFs are meant, in one line each. */
import type { VfSelector, VfSettings } from '@heddle/contract'

export function settingsText(settings: VfSettings | undefined): string {
  if (settings === undefined) return ''
  const said: readonly (readonly [string, string | number | boolean | undefined])[] = [
    ['MAC', settings.mac],
    ['VLAN', settings.vlan],
    ['QoS', settings.vlanQos],
    ['protocol', settings.vlanProto],
    ['spoofchk', settings.spoofchk],
    ['trust', settings.trust],
    ['min Mbit/s', settings.minTxRate],
    ['max Mbit/s', settings.maxTxRate],
    ['link', settings.linkState],
    ['MTU', settings.mtu],
    ['trunk', settings.trunk.length === 0 ? undefined : settings.trunk.map(({ first, last }) => (first === last ? first : `${first}-${last}`)).join(',')],
  ]
  const onOff = (value: string | number | boolean) => (typeof value === 'boolean' ? (value ? 'on' : 'off') : value)
  return said.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${onOff(value)}`])).join(', ')
}

export function selectorText(selector: VfSelector): string {
  const lists: readonly (readonly [string, readonly (string | number)[]])[] = [
    ['pf', selector.pfNames],
    ['pci', selector.pciAddresses],
    ['vendor', selector.vendors],
    ['device', selector.devices],
    ['driver', selector.drivers],
    ['link', selector.linkTypes],
    ['numa', selector.numaNodes],
    ['host', selector.hosts],
  ]
  const parts = lists.flatMap(([name, values]) => (values.length === 0 ? [] : [`${name}=${values.join('|')}`]))
  return [...parts, ...(selector.rdma ? ['rdma'] : []), ...(selector.vdpa ? ['vdpa'] : [])].join(' ')
}
