/** Virtual functions as their PF's netdev tells of them: IFLA_VFINFO_LIST and struct ifla_vf_* (linux/if_link.h). */
import type { SetVf, VfInfo, VfLinkState } from '../types.ts'
import * as c from './constants.ts'
import { formatMac, parseMac } from './inet.ts'
import { linkHeader } from './link-build.ts'
import { vlanProtocol } from './vlan.ts'
import { InvalidValue, type Message, type MessageReader, type MessageWriter } from './wire.ts'

export type VfSettings = Pick<SetVf, 'mac' | 'vlan' | 'rate' | 'spoofchk' | 'trust' | 'linkState'>

/** In the order the kernel takes them (do_setvfinfo), whatever their order in the message. */
export const vfSettings = ['mac', 'vlan', 'rate', 'spoofchk', 'linkState', 'trust'] as const

/** struct ifla_vf_mac: MAX_ADDR_LEN bytes, whatever the length of the device's addresses. */
const vfMacBytes = 32
const maxVlan = 4094
const maxQos = 7

const linkStates: readonly (readonly [VfLinkState, number])[] = [
  ['auto', c.IFLA_VF_LINK_STATE_AUTO],
  ['enable', c.IFLA_VF_LINK_STATE_ENABLE],
  ['disable', c.IFLA_VF_LINK_STATE_DISABLE],
]

/** RTM_SETLINK of the PF. */
export function setVf(writer: MessageWriter, sequence: number, index: number, vf: number, settings: VfSettings): void {
  if (!isUnsigned(vf)) throw new InvalidValue('vf', `${vf} is no number of a VF`)
  writer.message(c.RTM_SETLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, sequence, () => {
    linkHeader(writer, c.AF_UNSPEC, index)
    writer.nest(c.IFLA_VFINFO_LIST, () => writer.nest(c.IFLA_VF_INFO, () => body(writer, vf, settings)))
  })
}

function body(writer: MessageWriter, vf: number, { mac, vlan, rate, spoofchk, linkState, trust }: VfSettings): void {
  if (mac !== undefined) {
    const bytes = parseMac(mac)
    writer.nest(c.IFLA_VF_MAC, () => {
      writer.u32(vf)
      for (const byte of bytes) writer.u8(byte)
      writer.zero(vfMacBytes - bytes.length)
    })
  }
  if (vlan !== undefined) vlanSetting(writer, vf, vlan)
  if (rate !== undefined) {
    const { min, max } = rate
    if (!isUnsigned(min) || !isUnsigned(max) || (max > 0 && min > max)) throw new InvalidValue('rate', `${min} to ${max} is no range of rates in Mbit/s`)
    writer.nest(c.IFLA_VF_RATE, () => writer.u32(vf).u32(min).u32(max))
  }
  if (spoofchk !== undefined) writer.nest(c.IFLA_VF_SPOOFCHK, () => writer.u32(vf).u32(spoofchk ? 1 : 0))
  if (linkState !== undefined) {
    const state = linkStates.find(([name]) => name === linkState)?.[1]
    if (state === undefined) throw new InvalidValue('linkState', `${JSON.stringify(linkState)} is no link state: auto, enable or disable`)
    writer.nest(c.IFLA_VF_LINK_STATE, () => writer.u32(vf).u32(state))
  }
  if (trust !== undefined) writer.nest(c.IFLA_VF_TRUST, () => writer.u32(vf).u32(trust ? 1 : 0))
}

/** As iproute2 sends it: a kernel before 4.9 knows only the plain form, which stands for 802.1Q. */
function vlanSetting(writer: MessageWriter, vf: number, { id, qos, protocol }: NonNullable<VfSettings['vlan']>): void {
  if (!isUnsigned(id) || id > maxVlan || !isUnsigned(qos) || qos > maxQos)
    throw new InvalidValue('vlan', `VLAN ${id} with priority ${qos}: 0 to ${maxVlan} and 0 to ${maxQos} are possible`)
  const number = vlanProtocol(protocol)
  if (number === c.ETH_P_8021Q) {
    writer.nest(c.IFLA_VF_VLAN, () => writer.u32(vf).u32(id).u32(qos))
    return
  }
  writer.nest(c.IFLA_VF_VLAN_LIST, () =>
    // struct ifla_vf_vlan_info, two bytes of padding at its end.
    writer.nest(c.IFLA_VF_VLAN_INFO, () => writer.u32(vf).u32(id).u32(qos).u16be(number).zero(2)),
  )
}

function isUnsigned(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffffffff
}

/** Without statistics 256 VFs stay below the 64 KiB that one attribute can hold. */
export function getVfs(writer: MessageWriter, sequence: number, index: number): void {
  writer.message(c.RTM_GETLINK, c.NLM_F_REQUEST, sequence, () => {
    linkHeader(writer, c.AF_UNSPEC, index)
    writer.attributeU32(c.IFLA_EXT_MASK, c.RTEXT_FILTER_VF | c.RTEXT_FILTER_SKIP_STATS)
  })
}

export function readVfs(reader: MessageReader, message: Message): VfInfo[] {
  const vfs: VfInfo[] = []
  let macBytes = 6
  let list: [number, number] | undefined
  reader.eachAttribute(message.from + 16, message.to, (type, from, to) => {
    // VFs have addresses of their PF's length, in a field long enough for any.
    if (type === c.IFLA_ADDRESS && to > from) macBytes = to - from
    else if (type === c.IFLA_VFINFO_LIST) list = [from, to]
  })
  if (list === undefined) return vfs
  reader.eachAttribute(...list, (type, from, to) => {
    if (type !== c.IFLA_VF_INFO) return
    const vf = readVf(reader, from, to, macBytes)
    if (vf !== undefined) vfs.push(vf)
  })
  return vfs
}

/** Undefined when nothing says which VF it is. */
function readVf(reader: MessageReader, from: number, to: number, macBytes: number): VfInfo | undefined {
  const vf: { -readonly [K in keyof VfInfo]: VfInfo[K] } = { index: -1, mac: '', vlan: 0, qos: 0, protocol: '802.1q' }
  reader.eachAttribute(from, to, (type, at, end) => {
    if (type === c.IFLA_VF_MAC) {
      vf.index = reader.u32(at)
      vf.mac = formatMac(reader.slice(at + 4, Math.min(end, at + 4 + macBytes)))
    } else if (type === c.IFLA_VF_VLAN) {
      vf.vlan = reader.u32(at + 4)
      vf.qos = reader.u32(at + 8)
    } else if (type === c.IFLA_VF_VLAN_LIST) {
      reader.eachAttribute(at, end, (inner, start) => {
        if (inner === c.IFLA_VF_VLAN_INFO && reader.u16be(start + 12) === c.ETH_P_8021AD) vf.protocol = '802.1ad'
      })
    } else if (type === c.IFLA_VF_RATE) {
      vf.minTxRate = reader.u32(at + 4)
      vf.maxTxRate = reader.u32(at + 8)
    } else if (type === c.IFLA_VF_SPOOFCHK) setting(vf, 'spoofchk', reader.u32(at + 4))
    else if (type === c.IFLA_VF_TRUST) setting(vf, 'trust', reader.u32(at + 4))
    else if (type === c.IFLA_VF_LINK_STATE) {
      const state = reader.u32(at + 4)
      for (const [name, number] of linkStates) if (number === state) vf.linkState = name
    }
  })
  return vf.index < 0 ? undefined : vf
}

/** The kernel says -1 for what the driver did not tell. */
function setting(vf: { spoofchk?: boolean; trust?: boolean }, key: 'spoofchk' | 'trust', value: number): void {
  if (value !== 0xffffffff) vf[key] = value !== 0
}
