/** Differences between a VF as it is and as it should be, in words for a person: "vlan is 100, not 0". Pure. */
import type { VfBaseline, VfSettings } from '@heddle/contract'
import { isUserSpaceDriver, type LinkInfo, type VfInfo } from '@heddle/kernel'
import { parseEndpointAlias } from '../domain/names.ts'
import type { VfView } from './cards.ts'
import { sameAdminMac } from './plan.ts'
import type { VfShape } from './shape.ts'

const words = (value: unknown): string => (value === true ? 'on' : value === false ? 'off' : value === '' ? 'none' : String(value))

/** What a PF's driver does not tell cannot be compared, and is not. `own` as for `adminStep`. */
export function settingDifferences(is: VfInfo, wanted: VfSettings, own: string): string[] {
  const pairs: readonly (readonly [string, unknown, unknown])[] = [
    ['mac', is.mac, wanted.mac !== undefined && sameAdminMac(is.mac, wanted.mac, own) ? is.mac : wanted.mac],
    ['vlan', is.vlan, wanted.vlan],
    ['vlanQos', is.qos, wanted.vlanQos],
    ['vlanProto', is.protocol, wanted.vlanProto],
    ['spoofchk', is.spoofchk, wanted.spoofchk],
    ['trust', is.trust, wanted.trust],
    ['minTxRate', is.minTxRate, wanted.minTxRate],
    ['maxTxRate', is.maxTxRate, wanted.maxTxRate],
    ['linkState', is.linkState, wanted.linkState],
  ]
  return pairs.flatMap(([name, has, should]) =>
    has === undefined || should === undefined || has === should ? [] : [`${name} is ${words(has)}, not ${words(should)}`],
  )
}

export interface WantedLink {
  readonly mac: string
  /** 0: whatever. */
  readonly mtu: number
  readonly name?: string
  readonly up?: boolean
}

export function linkDifferences(link: LinkInfo, wanted: WantedLink): string[] {
  return [
    ...(wanted.name === undefined || link.name === wanted.name ? [] : [`its netdev is named ${link.name}, not ${wanted.name}`]),
    ...(wanted.mac === '' || link.mac === wanted.mac ? [] : [`the netdev's MAC is ${link.mac}, not ${wanted.mac}`]),
    ...(wanted.mtu === 0 || link.mtu === wanted.mtu ? [] : [`mtu is ${link.mtu}, not ${wanted.mtu}`]),
    ...(wanted.up === true && !link.up ? ['the netdev is down'] : []),
  ]
}

/** What a VF differs in from its baseline. A name alone counts when the netdev bears our mark: udev and people may rename it. */
export function baselineDifferences(view: VfView, baseline: VfBaseline): string[] {
  const { vf, info, link, pfName } = view
  if (info === undefined) return [pfName === '' ? "its PF has no netdev in the host's namespace" : `its PF ${pfName} does not tell of it`]
  const differences = settingDifferences(info, baseline.settings ?? { trunk: [] }, baseline.mac)
  if (vf.driver !== baseline.driver) return [...differences, `driver is ${words(vf.driver)}, not ${words(baseline.driver)}`]
  if (baseline.name === '' || isUserSpaceDriver(baseline.driver)) return differences
  if (link === undefined) return [...differences, "its netdev is not in the host's namespace"]
  const marked = parseEndpointAlias(link.alias)
  return [
    ...differences,
    ...linkDifferences(link, { mac: baseline.mac, mtu: baseline.settings?.mtu ?? 0, ...(marked === undefined ? {} : { name: baseline.name }) }),
    ...(marked === undefined ? [] : [`the netdev bears the mark of endpoint ${marked.endpointId}`]),
  ]
}

/**
 * What a process leaves that is killed while it binds a function's own driver anew: no other driver could have the VF. Only where
 * it was read whole.
 */
export function overrideLeft({ driver, driverOverride }: VfView['vf']): string {
  return driver === '' || isUserSpaceDriver(driver) ? '' : driverOverride
}

/** What a VF differs in from its endpoint's shape. `link`: its netdev, wherever it is. */
export function shapeDifferences(view: VfView, link: LinkInfo | undefined, shape: VfShape): string[] {
  if (view.info === undefined) return ["its PF has no netdev in the host's namespace"]
  const differences = settingDifferences(view.info, shape.settings, ownMac(shape))
  if (shape.driver !== '') return view.vf.driver === shape.driver ? differences : [...differences, `driver is ${words(view.vf.driver)}, not ${shape.driver}`]
  if (link === undefined) return [...differences, `its netdev is not in ${shape.sandbox || "the host's namespace"}`]
  const { mac, mtu, interfaceName: name, sandbox } = shape
  // Docker's is renamed and set up by dockerd, where it has moved it to.
  const isDockers = sandbox === '' && view.link === undefined
  return [...differences, ...linkDifferences(link, isDockers ? { mac, mtu } : { mac, mtu, name, up: sandbox !== '' })]
}

/** The MAC that counts as set by nobody: the VF's own, while the endpoint uses it. */
export function ownMac(shape: VfShape): string {
  return shape.driver === '' && shape.mac === shape.baseline.mac ? shape.mac : ''
}
