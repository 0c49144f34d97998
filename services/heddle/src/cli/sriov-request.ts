/** Flags of `network create --kind sriov`: which VFs, and how they are set. */
import { SriovNetwork, type VlanRange } from '@heddle/contract'
import { invalid } from '@heddle/core'

export interface SriovFlags {
  readonly vfPool?: string
  readonly pf?: readonly string[]
  readonly vlan?: string
  readonly vlanQos?: string
  readonly vlanProto?: string
  readonly vlanTrunk?: string
  readonly spoofchk?: string
  readonly trust?: string
  readonly minTxRate?: string
  readonly maxTxRate?: string
  readonly linkState?: string
  readonly bind?: string
  readonly apart?: boolean
  readonly near?: string
  readonly policy?: string
}

/** Undefined for another kind. What the values may be is checked where the network is made; here only that they are values. */
export function sriovRequest(kind: string, flags: SriovFlags): SriovNetwork | undefined {
  const given = Object.entries(flags).filter(([name, value]) => names.has(name) && value !== undefined && !(name === 'vlan' && kind === 'vlan'))
  if (kind !== 'sriov') {
    const [first] = given
    if (first !== undefined) throw invalid(flagOf(first[0]), `${flagOf(first[0])} is of networks of kind sriov`, 'add --kind sriov, or leave it out')
    return undefined
  }
  return SriovNetwork.fromPartial({
    pool: flags.vfPool ?? '',
    selector: flags.pf === undefined ? undefined : { pfNames: [...flags.pf] },
    settings: {
      vlan: number('vlan', flags.vlan),
      vlanQos: number('vlanQos', flags.vlanQos),
      vlanProto: flags.vlanProto,
      trunk: flags.vlanTrunk === undefined ? [] : flags.vlanTrunk.split(',').map(vlanRange),
      spoofchk: onOff('spoofchk', flags.spoofchk),
      trust: onOff('trust', flags.trust),
      minTxRate: number('minTxRate', flags.minTxRate),
      maxTxRate: number('maxTxRate', flags.maxTxRate),
      linkState: flags.linkState,
    },
    driver: flags.bind ?? '',
    apart: flags.apart === true,
    near: flags.near ?? '',
    policy: flags.policy ?? '',
  })
}

const names: ReadonlySet<string> = new Set([
  'vfPool',
  'pf',
  'vlan',
  'vlanQos',
  'vlanProto',
  'vlanTrunk',
  'spoofchk',
  'trust',
  'minTxRate',
  'maxTxRate',
  'linkState',
  'bind',
  'apart',
  'near',
  'policy',
])

export function flagOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

export function number(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text)) throw invalid(flagOf(name), `${JSON.stringify(text)} is not a whole number`)
  return Number(text)
}

function onOff(name: string, text: string | undefined): boolean | undefined {
  if (text !== undefined && text !== 'on' && text !== 'off') throw invalid(flagOf(name), `${JSON.stringify(text)} is neither on nor off`)
  return text === undefined ? undefined : text === 'on'
}

function vlanRange(text: string): VlanRange {
  const [, first = '', last = first] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(text.trim()) ?? []
  if (first === '') throw invalid('--vlan-trunk', `${JSON.stringify(text)} is no VLAN`, 'write 100,200-210')
  return { first: Number(first), last: Number(last) }
}
