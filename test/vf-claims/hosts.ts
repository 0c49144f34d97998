/** Hosts with cards as their hands report them, made up: each VF is at its baseline, dirty or quarantined, or made anew. */

import { type Partially, type Pf, type Vf, type VfAllocatorReportResponse, VfSettings } from '@heddle/contract'

export const perPf = 8
export const pfsPerHost = 2

const settings = VfSettings.fromPartial({ vlan: 0, spoofchk: true, linkState: 'auto' })

export class FakeHost {
  readonly name: string
  /** Of its hands' process. */
  epoch = 1
  /** Nobody asks for its VFs, so that those of a PF can be made anew. */
  draining = false
  readonly #generations = new Map<string, number>()
  /** Not to be had, by the last report that was answered. */
  readonly unusable = new Map<string, string>()
  readonly pcis: readonly string[]

  constructor(name: string) {
    this.name = name
    this.pcis = Array.from({ length: pfsPerHost * perPf }, (_, index) => `0000:3b:1${Math.floor(index / perPf)}.${index % perPf}`)
  }

  pfOf(pci: string): string {
    return `0000:3b:00.${pci.slice(9, 10)}`
  }

  /** As after another number was written to sriov_numvfs. */
  remake(pf: string): void {
    for (const pci of this.pcis) {
      if (this.pfOf(pci) !== pf) continue
      this.#generations.set(pci, (this.#generations.get(pci) ?? 0) + 1)
      this.unusable.delete(pci)
    }
  }

  report(states: ReadonlyMap<string, string> = this.unusable): { host: string; epoch: string; pfs: Partially<Pf>[]; vfs: Partially<Vf>[] } {
    const pfs = Array.from(
      { length: pfsPerHost },
      (_, index): Partially<Pf> => ({ pci: `0000:3b:00.${index}`, names: [`eth${index}`], numVfs: perPf, totalVfs: perPf }),
    )
    const vfs = this.pcis.map((pci): Partially<Vf> => {
      const state = states.get(pci)
      const baseline = { settings, name: `vf${pci.slice(8)}`, mac: '', driver: 'iavf' }
      return {
        pci,
        pf: this.pfOf(pci),
        index: Number(pci.at(-1)),
        driver: 'iavf',
        generation: `g${this.#generations.get(pci) ?? 0}.${pci}`,
        settings,
        ...(state === undefined ? { state: 'new', baseline } : { state, reason: 'made up' }),
      }
    })
    return { host: this.name, epoch: `epoch-${this.epoch}`, pfs, vfs }
  }
}

/** Claims that the hands are told to put back. */
export function givenUp(answer: VfAllocatorReportResponse) {
  return answer.vfs.flatMap(({ claim }) => (claim?.releasing ? [claim] : []))
}
