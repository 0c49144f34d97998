/** Options of networks made from a link of the host, and of bridges, under the names that Docker's own drivers have for them. */
import { isIPv4 } from 'node:net'
import type { CreateNetworkRequest, Network } from '@heddle/contract'
import { checkPci, HeddleError, invalid, parentModes } from '@heddle/core'
import { ipField, macField } from '../fields.ts'
import type { Given, GivenOption } from './sriov-options.ts'

const icc = 'com.docker.network.bridge.enable_icc'
const masquerade = 'com.docker.network.bridge.enable_ip_masquerade'
const hostBinding = 'com.docker.network.bridge.host_binding_ipv4'

/** The kinds that each is of, and what it may be. One that is of a single kind here says which kind is meant. */
const options = {
  parent: [['macvlan', 'ipvlan', 'vlan', 'host-device'], 'interface of the host; of macvlan and ipvlan eth0.100 is made where it is missing'],
  macvlan_mode: [['macvlan'], `${parentModes['macvlan']?.join(', ')}`],
  ipvlan_mode: [['ipvlan'], `${parentModes['ipvlan']?.join(', ')}`],
  parent_mac: [['host-device'], 'MAC of the interface, instead of its name'],
  parent_pci: [['host-device'], 'PCI address of the interface, instead of its name'],
  [icc]: [['bridge'], 'true or false: whether containers reach each other'],
  [masquerade]: [['bridge'], 'true or false: whether what leaves the network has the address of the host'],
  [hostBinding]: [['bridge'], 'address of the host that ports are published on where none is given'],
} as const satisfies Readonly<Record<string, readonly [readonly string[], string]>>
export type LinkOption = keyof typeof options | 'vlan'

/** What each may be, for the list of all options. */
export const linkOptions: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(options).map(([name, [kinds, what]]) => [name, `kind=${kinds.join('|')}: ${what}`]),
)

/** As a network has them, or the user wrote them, in one spelling; absent or empty: not said. */
export type LinkText = Readonly<Partial<Record<LinkOption, string>>>

/** The kinds that an option is of; undefined: not one of these options. */
export function kindsOfLinkOption(name: string): readonly string[] | undefined {
  if (name === 'vlan') return ['sriov', 'vlan']
  return Object.hasOwn(options, name) ? options[name as keyof typeof options][0] : undefined
}

export function parseLinkOptions(given: Given): LinkText {
  const read = (name: LinkOption, parse: (option: GivenOption) => string) => {
    const option = given.get(name)
    return option === undefined ? '' : parse(option)
  }
  const asIs = ({ value }: GivenOption) => value
  return {
    parent: read('parent', asIs),
    macvlan_mode: read('macvlan_mode', asIs),
    ipvlan_mode: read('ipvlan_mode', asIs),
    parent_mac: read('parent_mac', ({ spelling, value }) => macField(value, spelling)),
    parent_pci: read('parent_pci', ({ spelling, value }) => checkPci(value, spelling)),
    vlan: read('vlan', number),
    [icc]: read(icc, bool),
    [masquerade]: read(masquerade, bool),
    [hostBinding]: read(hostBinding, ipv4),
  }
}

/** What they make of a network; undefined where nothing is said. */
export function linksOf(text: LinkText): Pick<CreateNetworkRequest, 'parent' | 'bridge'> {
  const { parent: name = '', macvlan_mode = '', ipvlan_mode = '', parent_mac: mac = '', parent_pci: pci = '', vlan = '' } = text
  const mode = macvlan_mode || ipvlan_mode
  const [isolated, routed, binding = ''] = [text[icc] === 'false', text[masquerade] === 'false', text[hostBinding]]
  return {
    parent: [name, mode, mac, pci, vlan].some((one) => one !== '') ? { name, mode, vlan: Number(vlan), mac, pci } : undefined,
    bridge: isolated || routed || binding !== '' ? { isolated, routed, hostBinding: binding } : undefined,
  }
}

/** The first option that was given and is not as the network has it. */
export function linkMismatch({ kind, parent, bridge }: Network, wants: LinkText): { readonly option: string; readonly has: string } | undefined {
  const has: LinkText = {
    parent: parent?.name ?? '',
    macvlan_mode: kind === 'macvlan' ? (parent?.mode ?? '') : '',
    ipvlan_mode: kind === 'ipvlan' ? (parent?.mode ?? '') : '',
    parent_mac: parent?.mac ?? '',
    parent_pci: parent?.pci ?? '',
    vlan: String(parent?.vlan ?? ''),
    [icc]: String(bridge?.isolated !== true),
    [masquerade]: String(bridge?.routed !== true),
    [hostBinding]: bridge?.hostBinding || '0.0.0.0',
  }
  const option = (Object.keys(has) as LinkOption[]).find((name) => (wants[name] ?? '') !== '' && wants[name] !== has[name])
  return option === undefined ? undefined : { option, has: has[option] ?? '' }
}

/** What a check of the definition throws, with its field as the user wrote it. */
export function inOptionNames<T>(links: LinkText, check: () => T): T {
  const mode = (links.ipvlan_mode ?? '') === '' ? 'macvlan_mode' : 'ipvlan_mode'
  const names: Readonly<Record<string, string>> = { parent: 'parent', 'parent.name': 'parent', 'parent.mode': mode, 'parent.vlan': 'vlan' }
  try {
    return check()
  } catch (error) {
    const failure = HeddleError.from(error)
    const name = names[failure.field ?? '']
    if (name === undefined) throw error
    throw new HeddleError(failure.code, `driver option ${name}: ${failure.message}`, { field: name, remedy: failure.remedy, cause: error })
  }
}

function number(option: GivenOption): string {
  if (!/^\d{1,9}$/.test(option.value)) throw malformed(option, 'a number', 'NUMBER')
  return String(Number(option.value))
}

function ipv4(option: GivenOption): string {
  if (!isIPv4(option.value)) throw malformed(option, 'an IPv4 address', 'ADDRESS')
  return ipField(option.value, option.spelling)
}

/** As Go's strconv.ParseBool, by which Docker reads them. */
function bool(option: GivenOption): string {
  if (/^(1|t|T|TRUE|true|True)$/.test(option.value)) return 'true'
  if (/^(0|f|F|FALSE|false|False)$/.test(option.value)) return 'false'
  throw malformed(option, 'true or false', 'true|false')
}

function malformed({ spelling, value }: GivenOption, what: string, form: string): HeddleError {
  return invalid(spelling, `driver option ${spelling}=${JSON.stringify(value.slice(0, 40))} is not ${what}`, `write -o ${spelling}=${form}`)
}
