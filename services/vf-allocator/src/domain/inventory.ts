/** What is known of a host's cards, and what becomes of it with the next report. */
import { Pf, Vf, type VfBaseline, type VfClaim, VfSettings } from '@heddle/contract'

export interface Inventory {
  readonly host: string
  /** Of the hands whose report this is. */
  readonly epoch: string
  /** Of hands that others have taken over from: what they said arrives late. The newest last. */
  readonly formerEpochs: readonly string[]
  readonly pfs: ReadonlyMap<string, Pf>
  readonly vfs: ReadonlyMap<string, Vf>
  /** Baselines of the generation before, by PCI address: a late report may name that generation once more. */
  readonly retired: ReadonlyMap<string, Retired>
}

export interface Retired {
  readonly generation: string
  readonly baseline: VfBaseline
}

export interface Reported {
  readonly host: string
  readonly epoch: string
  readonly pfs: readonly Pf[]
  readonly vfs: readonly Vf[]
}

const maxFormerEpochs = 8

/** Whether the report is of hands that no longer run. */
export function isLate(before: Inventory | undefined, epoch: string): boolean {
  return before?.formerEpochs.includes(epoch) ?? false
}

/** A VF that is not there any more, or was made anew since. A reservation is of the address, whatever is there. */
export function isLost(claim: VfClaim, inventory: Inventory | undefined): boolean {
  if (inventory === undefined) return false
  const vf = inventory.vfs.get(claim.pci)
  return vf === undefined || (claim.owner !== '' && claim.generation !== vf.generation)
}

/** The claim that concerns the VF as it is now. */
export function claimOn(vf: Vf, claim: VfClaim | undefined): VfClaim | undefined {
  return claim === undefined || (claim.owner !== '' && claim.generation !== vf.generation) ? undefined : claim
}

/** Replaces what was known; what was recorded once for a generation stays. */
export function merged(before: Inventory | undefined, report: Reported, claimOf: (pci: string) => VfClaim | undefined): Inventory {
  const { host, epoch } = report
  const former = before === undefined || before.epoch === epoch || before.epoch === '' ? [] : [before.epoch]
  const inOrder = <T extends { readonly pci: string }>(all: readonly T[]) => all.toSorted((a, b) => (a.pci < b.pci ? -1 : 1))
  const vfs = new Map(inOrder(report.vfs).map((seen) => [seen.pci, mergedVf({ ...seen, host }, before, claimOf(seen.pci))]))
  return {
    host,
    epoch,
    formerEpochs: [...(before?.formerEpochs ?? []), ...former].slice(-maxFormerEpochs),
    pfs: new Map(inOrder(report.pfs).map((pf) => [pf.pci, { ...pf, host, held: false, freeVfs: 0, claimedVfs: 0 }])),
    vfs,
    retired: retiredBy(before, vfs),
  }
}

/** Text for text, but for who reported it when. */
export function sameInventory(a: Inventory, b: Inventory): boolean {
  const text = ({ epoch, pfs, vfs, retired }: Inventory) =>
    JSON.stringify([epoch, [...pfs.values()].map((pf) => Pf.toJSON(pf)), [...vfs.values()].map((vf) => Vf.toJSON(vf)), [...retired]])
  return text(a) === text(b)
}

/**
 * A claimed VF is recorded at its baseline, to which its holder brings it back: so attaching and detaching write nothing
 * here, and what is released can be claimed at once. Only what nobody should get after that is recorded; and the driver
 * that the kubelet has had a VF bound to, which the endpoint that takes it over has to know.
 */
function mergedVf(seen: Vf, before: Inventory | undefined, claim: VfClaim | undefined): Vf {
  const known = before?.vfs.get(seen.pci)
  const same = known?.generation === seen.generation ? known : undefined
  const retired = before?.retired.get(seen.pci)
  const recorded = same?.baseline ?? (retired?.generation === seen.generation ? retired.baseline : undefined)
  const bare: Vf = { ...seen, claim: undefined, pfName: '' }
  const unusable = seen.state === 'quarantined' || seen.state === 'foreign'
  const holder = claimOn(seen, claim)
  // While a VF is only reserved nobody sets it, but the kubelet has it bound: then its hands call it used.
  const isHolders = holder !== undefined && (holder.owner !== '' || seen.state === 'used')
  if (isHolders && !unusable && same !== undefined && recorded !== undefined) {
    const { name, mac, settings } = recorded
    const driver = holder.reservedBy === '' ? recorded.driver : seen.driver
    return { ...same, index: seen.index, pf: seen.pf, baseline: recorded, name, mac, driver, settings, state: 'ready', reason: '' }
  }
  if (holder !== undefined && holder.owner !== '') return { ...bare, baseline: recorded }
  const baseline = recorded ?? seen.baseline
  return { ...bare, baseline, ...judged(seen, baseline) }
}

/** Hands that have just started do not know what is recorded: they propose, and the comparison is made here. */
function judged(seen: Vf, baseline: VfBaseline | undefined): { readonly state: string; readonly reason: string } {
  const { state, reason } = seen
  if (baseline === undefined) return { state: state === 'ready' ? 'new' : state, reason }
  if (state !== 'new' || seen.baseline === undefined) return { state, reason }
  const found = differences(baseline, seen.baseline)
  return found.length === 0 ? { state: 'ready', reason: '' } : { state: 'dirty', reason: found.join('; ') }
}

/** Each field that is not as recorded, with both values. */
export function differences(recorded: VfBaseline, now: VfBaseline): string[] {
  const flat = ({ settings, name, mac, driver }: VfBaseline): Record<string, unknown> => ({
    ...(VfSettings.toJSON(settings ?? VfSettings.fromPartial({})) as object),
    name,
    'own MAC': mac,
    driver,
  })
  const [a, b] = [flat(recorded), flat(now)]
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((field) => {
    const [was, is] = [JSON.stringify(a[field]), JSON.stringify(b[field])]
    return was === is ? [] : [`${field} is ${is ?? 'not set'}, ${was ?? 'not set'} at its baseline`]
  })
}

function retiredBy(before: Inventory | undefined, vfs: ReadonlyMap<string, Vf>): Map<string, Retired> {
  const retired = new Map<string, Retired>()
  for (const [pci, one] of before?.retired ?? []) if (vfs.get(pci)?.generation !== one.generation) retired.set(pci, one)
  for (const [pci, { generation, baseline }] of before?.vfs ?? []) {
    if (baseline !== undefined && vfs.get(pci)?.generation !== generation) retired.set(pci, { generation, baseline })
  }
  return new Map([...retired].sort(([a], [b]) => (a < b ? -1 : 1)))
}
