/**
 * Options for a VF, beside `name` and `type`: those of sriov-cni under their names (its docs/configuration-reference.md), so
 * that a configuration written for it needs only another `type`, and what it has not: `vfPool`, `pf`, `selectors`,
 * `vlanTrunk`, `vfDriver`. They are of one ADD; what all endpoints of a network share stands in `heddle.sriov`.
 */
import { VfSelector, VfSettings, type VlanRange } from '@heddle/contract'
import { checkNetworkName, checkPci, checkVfSelector, checkVfSettings, HeddleError, invalid } from '@heddle/core'
import { z } from 'zod'
import { named, recoded } from '../fields.ts'
import type { VfWish } from '../flows/vf.ts'
import { selectorSchema } from './definition.ts'
import { checked, count, maybe, only, text } from './schema.ts'

const onOff = z.enum(['on', 'off'], 'write "on" or "off"').transform((value) => value === 'on')
/** `{"id": 5}` or `{"minID": 5, "maxID": 9}`, as the bridge plugin writes it. */
const trunkSchema = only({ id: maybe(count), minID: maybe(count), maxID: maybe(count) })

const options = {
  vlan: maybe(count),
  vlanQoS: maybe(count),
  vlanProto: maybe(text),
  spoofchk: maybe(onOff),
  trust: maybe(onOff),
  link_state: maybe(text),
  min_tx_rate: maybe(count),
  max_tx_rate: maybe(count),
  vfPool: maybe(text),
  pf: maybe(text),
  selectors: maybe(selectorSchema),
  vlanTrunk: maybe(z.array(trunkSchema).max(256)),
  vfDriver: maybe(text),
}
const optionsSchema = z.looseObject({ ...options, mtu: maybe(count) })
type Options = z.output<typeof optionsSchema>

/** Where a device may be named; each goes before those after it. */
const deviceSchema = z.looseObject({
  runtimeConfig: maybe(z.looseObject({ deviceID: maybe(text) })),
  args: maybe(z.looseObject({ cni: maybe(z.looseObject({ deviceID: maybe(text) })) })),
  deviceID: maybe(text),
  pciBusID: maybe(text),
})

/** Fields of VfSettings by the names they have here. */
export const optionOf: Readonly<Record<string, string>> = {
  vlanQos: 'vlanQoS',
  linkState: 'link_state',
  minTxRate: 'min_tx_rate',
  maxTxRate: 'max_tx_rate',
  trunk: 'vlanTrunk',
}

/** The first option a configuration has; the runtime adds a device by itself, so that is none. */
export function sriovOptionIn(json: Readonly<Record<string, unknown>>): string | undefined {
  return Object.keys(options).find((name) => json[name] !== undefined && json[name] !== null)
}

/** As it is written, or empty: runtimeConfig, args.cni, CNI_ARGS, `deviceID`, `pciBusID`. */
export function deviceIn(json: Readonly<Record<string, unknown>>, args: ReadonlyMap<string, string>): string {
  const { device } = namedDevice(json, args)
  return device
}

/** Fails with invalid-argument or unsupported, naming the option; invalid-environment for one in CNI_ARGS. */
export function parseVf(json: Readonly<Record<string, unknown>>, args: ReadonlyMap<string, string>): VfWish {
  const given = checked(() => optionsSchema.parse(json))
  const { device, isFromArgs } = namedDevice(json, args)
  const check = () => checkPci(device, 'deviceID')
  if (given.vfDriver !== undefined && !['', 'vfio-pci'].includes(given.vfDriver)) {
    throw new HeddleError('unsupported', `vfDriver: ${JSON.stringify(given.vfDriver)} is not known`, {
      field: 'vfDriver',
      remedy: 'use "vfio-pci", or leave it out for the kernel driver',
    })
  }
  return {
    pci: device === '' ? '' : isFromArgs ? recoded('invalid-environment', 'CNI_ARGS deviceID', check) : check(),
    pool: given.vfPool ? checkNetworkName(given.vfPool, 'vfPool') : '',
    selector: selectorOf(given),
    settings: settingsOf(given),
    driver: given.vfDriver ?? '',
  }
}

function namedDevice(json: Readonly<Record<string, unknown>>, args: ReadonlyMap<string, string>) {
  const { runtimeConfig, args: more, deviceID, pciBusID } = checked(() => deviceSchema.parse(json))
  const before = runtimeConfig?.deviceID || more?.cni?.deviceID || ''
  const fromArgs = before === '' ? (args.get('deviceID') ?? '') : ''
  return { device: before || fromArgs || deviceID || pciBusID || '', isFromArgs: fromArgs !== '' }
}

function selectorOf({ pf, selectors }: Options): VfSelector | undefined {
  if (!pf && selectors === undefined) return undefined
  if (pf && selectors?.pfNames !== undefined) throw invalid('pf', 'pf and selectors.pfNames both say which PFs are meant', 'give one of them')
  const selector = VfSelector.fromJSON({ ...selectors, ...(pf ? { pfNames: [pf] } : {}) })
  return named(() => checkVfSelector(selector, 'selectors'), pf ? { 'selectors.pfNames[0]': 'pf' } : {})
}

function settingsOf({ vlan, vlanQoS, vlanProto, spoofchk, trust, link_state, min_tx_rate, max_tx_rate, vlanTrunk, mtu }: Options): VfSettings {
  // As sriov-cni has it: a VLAN that is not named is not touched, and nothing of it either.
  for (const [name, value] of Object.entries({ vlanQoS, vlanProto }))
    if (value !== undefined && vlan === undefined) throw invalid(name, `${name}: there is no vlan that it could be of`, `give vlan too, or leave ${name} out`)
  const settings = VfSettings.fromPartial({
    vlan,
    vlanQos: vlanQoS,
    vlanProto: vlanProto?.toLowerCase(),
    spoofchk,
    trust,
    linkState: link_state,
    minTxRate: min_tx_rate,
    maxTxRate: max_tx_rate,
    trunk: (vlanTrunk ?? []).flatMap(rangesOf),
    mtu: mtu || undefined,
  })
  const names = Object.keys(settings).map((name) => [name, optionOf[name] ?? name] as const)
  return named(() => checkVfSettings(settings, 'vf'), Object.fromEntries(names.map(([name, option]) => [`vf.${name}`, option])))
}

function rangesOf({ id, minID, maxID }: z.output<typeof trunkSchema>, index: number): VlanRange[] {
  if ((minID === undefined) !== (maxID === undefined) || (id === undefined && minID === undefined)) {
    throw invalid(`vlanTrunk[${index}]`, `vlanTrunk[${index}]: an entry is one VLAN or a range`, 'write {"id": 5} or {"minID": 5, "maxID": 9}')
  }
  return [...(id === undefined ? [] : [{ first: id, last: id }]), ...(minID === undefined ? [] : [{ first: minID, last: maxID ?? minID }])]
}
