/** The vf-allocator in memory on a MemoryBus: what it records, and who claims what. Tests only. */
import { MemoryBus, type MemoryHub } from '@heddle/bus'
import { busServices, type Pf, Vf, VfClaim } from '@heddle/contract'
import { HeddleError } from '@heddle/core'

export class FakeAllocator {
  readonly vfs = new Map<string, Vf>()
  readonly claims = new Map<string, VfClaim>()
  readonly holds = new Set<string>()
  readonly released: string[] = []
  pfs: readonly Pf[] = []
  reports = 0
  /** How often somebody asked for VFs. */
  asked = 0
  /** Every call fails. */
  down = false
  readonly #bus: MemoryBus

  constructor(hub: MemoryHub) {
    this.#bus = new MemoryBus({ hub })
  }

  async start(): Promise<this> {
    const no = async (): Promise<never> => {
      throw new HeddleError('not-implemented', 'not part of the fake')
    }
    const answer = <A>(value: () => A): A => {
      if (this.down) throw new HeddleError('internal', 'the allocator is down')
      return value()
    }
    await this.#bus.serve(busServices.vfAllocator, {
      claim: no,
      forgetHost: no,
      listPfs: no,
      putPool: no,
      deletePool: no,
      listPools: no,
      report: async ({ pfs, vfs }) =>
        answer(() => {
          this.reports++
          this.pfs = pfs
          const before = new Map(this.vfs)
          this.vfs.clear()
          for (const vf of vfs) {
            const known = before.get(vf.pci)
            const baseline = known?.generation === vf.generation && known.baseline !== undefined ? known.baseline : vf.baseline
            this.vfs.set(vf.pci, { ...vf, baseline })
          }
          return { vfs: [...this.vfs.values()].map((vf) => this.#filled(vf)) }
        }),
      listVfs: async ({ pci, owner }) => {
        this.asked++
        return answer(() => ({
          vfs: [...this.vfs.values()]
            .map((vf) => this.#filled(vf))
            .filter((vf) => (pci === '' || vf.pci === pci) && (owner === '' || vf.claim?.owner === owner)),
        }))
      },
      release: async ({ owner, pci }) =>
        answer(() => {
          const claim = [...this.claims.values()].find((one) => (owner === '' ? one.pci === pci : one.owner === owner))
          if (claim === undefined) return {}
          this.claims.delete(claim.pci)
          this.released.push(claim.pci)
          return { claim }
        }),
      holdPf: async ({ pf }) =>
        answer(() => {
          const used = [...this.claims.values()].filter((claim) => this.vfs.get(claim.pci)?.pf === pf)
          if (used.length > 0) throw new HeddleError('pf-in-use', `PF ${pf} has claims`)
          this.holds.add(pf)
          return {}
        }),
      unholdPf: async ({ pf }) =>
        answer(() => {
          this.holds.delete(pf)
          return {}
        }),
    })
    return this
  }

  /** As vf-allocator would: by an owner, of what is there. */
  claim(pci: string, owner: string, networkId = 'n1'): Vf {
    const vf = this.vfs.get(pci)
    if (vf === undefined) throw new Error(`no VF ${pci} was reported`)
    this.claims.set(pci, VfClaim.fromPartial({ host: vf.host, pci, owner, networkId, generation: vf.generation, revision: 1n }))
    return this.#filled(vf)
  }

  free(pci: string): void {
    this.claims.delete(pci)
  }

  #filled(vf: Vf): Vf {
    return Vf.fromPartial({ ...vf, claim: this.claims.get(vf.pci) })
  }
}
