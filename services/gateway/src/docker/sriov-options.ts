/**
 * Options of networks of kind sriov, and under which names the plugins that answered to `sriov` before took them:
 * clearcontainers/sriov (pf_iface, vlanid, phys_network) and Mellanox/docker-sriov-plugin (netdevice, vlan, mode, prefix,
 * privileged, rocehoplimit).
 */
import { SriovNetwork, VfSettings, type VlanRange } from '@heddle/contract'
import { checkInterfaceName, checkVfNear, checkVfSettings, HeddleError, invalid } from '@heddle/core'
import { indexesField, named } from '../fields.ts'

/** Options of a network by name; each with its field, so that a refusal names what the user wrote. */
export type Given = ReadonlyMap<string, GivenOption>
export interface GivenOption {
  /** As the user spelled it. */
  readonly spelling: string
  readonly value: string
}

export const sriovOptions = {
  pool: 'name of a VF pool',
  pf: 'interface of the PF, or some of its VFs: eth0#0-3',
  vlan: '0 to 4094',
  vlan_qos: '0 to 7',
  vlan_proto: '802.1q or 802.1ad',
  vlan_trunk: 'VLANs the container may use tagged: 100,200-210',
  spoofchk: 'on or off',
  trust: 'on or off',
  min_tx_rate: 'Mbit/s',
  max_tx_rate: 'Mbit/s',
  link_state: 'auto, enable or disable',
  policy: 'pack or spread',
  near: 'PCI device whose NUMA node it is to be on, or node:1',
} as const
type SriovOption = keyof typeof sriovOptions

/** What only the name `sriov` takes beside them. */
export const formerOptions = {
  pf_iface: 'as pf',
  netdevice: 'as pf',
  vlanid: 'as vlan',
  phys_network: 'as pool',
  privileged: '1: trust on and spoofchk off, 0: the reverse',
  mode: 'sriov',
} as const

/** Fields of VfSettings. */
export const optionOf = {
  vlan: 'vlan',
  vlanQos: 'vlan_qos',
  vlanProto: 'vlan_proto',
  minTxRate: 'min_tx_rate',
  maxTxRate: 'max_tx_rate',
  linkState: 'link_state',
  trunk: 'vlan_trunk',
} as const

const synonyms: ReadonlyMap<string, string> = new Map([
  ['com.docker.network.driver.mtu', 'mtu'],
  ['com.docker.network.container_iface_prefix', 'prefix'],
  ['pf_iface', 'pf'],
  ['netdevice', 'pf'],
  ['vlanid', 'vlan'],
  ['phys_network', 'pool'],
])

/** Other spellings, former ones and Docker's, made ours. Two spellings of one option are refused: they would contradict each other, or be one too many. */
export function modernise(given: Given): Given {
  const modern = new Map<string, GivenOption>()
  const put = (name: string, option: GivenOption) => {
    const there = modern.get(name)
    if (there !== undefined) {
      throw invalid(option.spelling, `driver options ${there.spelling} and ${option.spelling} both say what ${name} is`, `give one of them`)
    }
    modern.set(name, option)
  }
  for (const [key, option] of given) {
    if (key === 'mode') checkMode(option)
    else if (key === 'privileged') {
      const privileged = choice(option, ['1', '0']) === '1'
      put('trust', { ...option, value: privileged ? 'on' : 'off' })
      put('spoofchk', { ...option, value: privileged ? 'off' : 'on' })
    } else put(synonyms.get(key) ?? key, option)
  }
  return modern
}

/** Undefined when none of the options is given. Fails with invalid-argument. */
export function parseSriovOptions(given: Given): SriovNetwork | undefined {
  if (![...given.keys()].some((key) => Object.hasOwn(sriovOptions, key))) return undefined
  const [pf, near] = [given.get('pf'), given.get('near')]
  const settings = settingsOf(given)
  return SriovNetwork.fromPartial({
    pool: given.get('pool')?.value ?? '',
    ...(pf === undefined ? {} : { selector: { pfNames: [pfOption(pf)] } }),
    ...(settings === undefined ? {} : { settings }),
    policy: choice(given.get('policy'), ['pack', 'spread']) ?? '',
    near: near === undefined ? '' : checkVfNear(near.value, near.spelling),
  })
}

/** Each option as it is set in a network, in the spelling of the options: what is the same is spelled the same. */
export function sriovText(sriov: SriovNetwork | undefined): Readonly<Record<SriovOption, string>> {
  const { settings, selector } = sriov ?? {}
  const onOff = (value: boolean | undefined) => (value === undefined ? '' : value ? 'on' : 'off')
  return {
    pool: sriov?.pool ?? '',
    pf: selector?.pfNames.join(',') ?? '',
    vlan: String(settings?.vlan ?? ''),
    vlan_qos: String(settings?.vlanQos ?? ''),
    vlan_proto: settings?.vlanProto ?? '',
    vlan_trunk: (settings?.trunk ?? []).map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(','),
    spoofchk: onOff(settings?.spoofchk),
    trust: onOff(settings?.trust),
    min_tx_rate: String(settings?.minTxRate ?? ''),
    max_tx_rate: String(settings?.maxTxRate ?? ''),
    link_state: settings?.linkState ?? '',
    policy: sriov?.policy ?? '',
    near: sriov?.near ?? '',
  }
}

function settingsOf(given: Given): VfSettings | undefined {
  const trunk = given.get('vlan_trunk')
  const settings: Partial<VfSettings> = {
    vlan: number(given.get('vlan')),
    vlanQos: number(given.get('vlan_qos')),
    vlanProto: given.get('vlan_proto')?.value.toLowerCase(),
    spoofchk: switched(given.get('spoofchk')),
    trust: switched(given.get('trust')),
    minTxRate: number(given.get('min_tx_rate')),
    maxTxRate: number(given.get('max_tx_rate')),
    linkState: given.get('link_state')?.value,
    ...(trunk === undefined ? {} : { trunk: trunk.value.split(',').map((text) => vlanRange(trunk, text)) }),
  }
  const isGiven = Object.values(settings).some((value) => value !== undefined)
  if (!isGiven) return undefined
  const names = Object.entries(optionOf).map(([name, option]) => [`vf.${name}`, given.get(option)?.spelling ?? option])
  return named(() => checkVfSettings(VfSettings.fromPartial(settings), 'vf'), Object.fromEntries(names))
}

function checkMode(option: GivenOption): void {
  if (choice(option, ['sriov', 'passthrough']) === 'sriov') return
  throw new HeddleError('unsupported', 'driver option mode=passthrough would give the container the PF itself, which this version cannot', {
    field: 'mode',
    remedy: 'leave it out to give it a VF',
  })
}

function pfOption({ spelling, value }: GivenOption): string {
  const [name = '', ...ranges] = value.split('#')
  checkInterfaceName(name, spelling)
  if (ranges.length > 0) indexesField(ranges.join('#'), spelling)
  return value
}

function number(option: GivenOption | undefined): number | undefined {
  if (option === undefined) return undefined
  const { spelling, value } = option
  if (!/^\d{1,9}$/.test(value)) throw invalid(spelling, `driver option ${spelling}=${quoted(value)} is not a number`, `write -o ${spelling}=NUMBER`)
  return Number(value)
}

function choice<T extends string>(option: GivenOption | undefined, choices: readonly T[]): T | undefined {
  if (option === undefined) return undefined
  const found = choices.find((one) => one === option.value)
  if (found === undefined)
    throw invalid(option.spelling, `driver option ${option.spelling}=${quoted(option.value)} is not known`, `use ${choices.join(' or ')}`)
  return found
}

function switched(option: GivenOption | undefined): boolean | undefined {
  const value = choice(option, ['on', 'off'])
  return value === undefined ? undefined : value === 'on'
}

function vlanRange({ spelling, value }: GivenOption, text: string): VlanRange {
  const [, first = '', last = first] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(text) ?? []
  if (first === '') throw invalid(spelling, `driver option ${spelling}=${quoted(value)} is not a list of VLANs`, `write -o ${spelling}=100,200-210`)
  return { first: Number(first), last: Number(last) }
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 40))
}
