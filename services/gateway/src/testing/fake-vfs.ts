/** vf-allocator as far as the gateway can see it, and what the hands do to a VF, in memory: for tests of the doors and flows. */
import type { Handlers } from '@heddle/bus'
import {
  type BindVfRequest,
  type BindVfResponse,
  Pf,
  type SriovNetwork,
  Vf,
  type VfAllocatorClaimRequest,
  type VfAllocatorDefinition,
  type VfAttachment,
  type VfClaim,
  VfPool,
} from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import { parseIndexes } from '@heddle/net'

export class FakeVfs {
  readonly pfs = new Map<string, Pf>()
  /** By PCI address. */
  readonly vfs = new Map<string, Vf>()
  readonly pools = new Map<string, VfPool>()
  /** By PCI address of the VF. */
  readonly claims = new Map<string, VfClaim>()
  /** Every claim that was asked for. */
  readonly wishes: VfAllocatorClaimRequest[] = []
  readonly #host: string
  #revision = 500n

  constructor(host: string) {
    this.#host = host
  }

  /** A card with one PF: `eth0` has VFs `eth0v0` to `eth0v<count - 1>` at 0000:3b:02.0 and on. */
  addPf(name: string, count: number): Pf {
    const bus = (0x3b + this.pfs.size).toString(16)
    const common = { host: this.#host, vendor: '8086', device: '10c9', linkType: 'ether', numaNode: -1 }
    const pf = Pf.fromPartial({ ...common, pci: `0000:${bus}:00.0`, names: [name], driver: 'igb', totalVfs: 7, numVfs: count, eswitchMode: 'legacy' })
    this.pfs.set(pf.pci, pf)
    for (let index = 0; index < count; index++) {
      const pci = `0000:${bus}:02.${index}`
      const at = { name: `${name}v${index}`, mac: `52:54:00:${bus}:00:0${index}`, driver: 'igbvf' }
      const settings = { mac: '00:00:00:00:00:00', vlan: 0, vlanQos: 0, spoofchk: true, trust: false, minTxRate: 0, maxTxRate: 0, linkState: 'auto' }
      const state = { generation: `boot:${pci}`, state: 'ready', settings, baseline: { ...at, settings } }
      this.vfs.set(pci, Vf.fromPartial({ ...common, device: '10ca', pci, pf: pf.pci, pfName: name, index, ...at, ...state }))
    }
    return pf
  }

  addPool(partial: Parameters<typeof VfPool.fromPartial>[0]): VfPool {
    const pool = VfPool.fromPartial(partial)
    this.pools.set(pool.name, pool)
    return pool
  }

  /** The hands set it and hand it over. */
  use({ pci, settings }: VfAttachment): Vf {
    const vf = this.#vf(pci)
    vf.state = 'used'
    vf.settings = { ...vf.settings, ...defined(settings), trunk: settings?.trunk ?? [] }
    return vf
  }

  /** The hands put it back to its baseline. */
  putBack(owner: string): boolean {
    const pci = [...this.claims.values()].find((claim) => claim.owner === owner)?.pci ?? ''
    const vf = this.vfs.get(pci)
    if (vf === undefined) return false
    const used = vf.state === 'used'
    vf.state = 'ready'
    vf.settings = vf.baseline?.settings
    return used
  }

  /** The hands bind a driver; with a user-space one the VF has device nodes instead of a netdev. */
  bind({ pci, driver }: BindVfRequest): BindVfResponse {
    const vf = this.#vf(pci)
    vf.driver = driver || (vf.baseline?.driver ?? '')
    const isUserSpace = driver === 'vfio-pci'
    vf.name = isUserSpace ? '' : (vf.baseline?.name ?? '')
    const rdma = vf.rdmaDevices.flatMap((_name, index) => [`/dev/infiniband/uverbs${vf.index + index}`, '/dev/infiniband/rdma_cm'])
    return { vf, deviceNodes: isUserSpace ? ['/dev/vfio/vfio', `/dev/vfio/${vf.iommuGroup}`] : rdma }
  }

  /** VFs that nobody holds and that are not at their baseline. */
  astray(): string[] {
    const atBaseline = ({ state, settings, baseline }: Vf) => state === 'ready' && JSON.stringify(settings) === JSON.stringify(baseline?.settings)
    return [...this.vfs.values()].filter((vf) => !this.claims.has(vf.pci) && !atBaseline(vf)).map(({ pci }) => pci)
  }

  readonly handlers: Handlers<typeof VfAllocatorDefinition> = {
    report: async () => ({}),
    forgetHost: async ({ host }) => {
      const claims = [...this.claims.values()].filter((claim) => claim.host === host)
      for (const { pci } of claims) this.claims.delete(pci)
      return { claims: claims.length }
    },
    claim: async (request) => {
      this.wishes.push(request)
      const { owner, reserveFor, networkId, group } = request
      const mine = [...this.claims.values()].find((claim) => owner !== '' && claim.owner === owner)
      if (mine !== undefined && !['', mine.pci].includes(request.pci)) throw inUse(mine.pci, owner)
      const vf = mine === undefined ? this.#choose(request) : this.#vf(mine.pci)
      const reservedBy = reserveFor || (this.claims.get(vf.pci)?.reservedBy ?? '')
      const claim = {
        host: this.#host,
        pci: vf.pci,
        owner,
        reservedBy,
        networkId,
        group,
        releasing: false,
        createdAt: '',
        generation: vf.generation,
        revision: this.#revision++,
      }
      this.claims.set(vf.pci, mine ?? claim)
      return { vf: this.#read(vf), pf: this.pfs.get(vf.pf) }
    },
    release: async ({ owner, pci, revision }) => {
      const claim = [...this.claims.values()].find((one) => (owner === '' ? one.pci === pci && one.reservedBy !== '' : one.owner === owner))
      if (claim === undefined || (revision !== 0n && revision !== claim.revision)) return {}
      if (owner !== '' && claim.reservedBy !== '') this.claims.set(claim.pci, { ...claim, owner: '', networkId: '', group: '' })
      else this.claims.delete(claim.pci)
      return { claim }
    },
    listPfs: async ({ host }) => ({ pfs: host === '' || host === this.#host ? [...this.pfs.values()] : [] }),
    listVfs: async ({ host, pci, pf, pool, owner }) => ({
      vfs: [...this.vfs.values()]
        .filter((vf) => (host === '' || vf.host === host) && (pci === '' || vf.pci === pci) && (pf === '' || vf.pf === pf || vf.pfName === pf))
        .filter((vf) => pool === '' || this.#inPool(vf, pool))
        .filter((vf) => owner === '' || this.claims.get(vf.pci)?.owner === owner)
        .map((vf) => this.#read(vf)),
    }),
    holdPf: async () => ({}),
    unholdPf: async () => ({}),
    putPool: async ({ pool }) => {
      if (pool === undefined) throw new HeddleError('invalid-argument', 'no pool')
      const created = !this.pools.has(pool.name)
      this.pools.set(pool.name, pool)
      return { pool, created, vfs: this.#of(pool.name).length }
    },
    deletePool: async ({ name }) => ({ existed: this.pools.delete(name) }),
    listPools: async ({ name }) => ({
      pools: [...this.pools.values()]
        .filter((pool) => name === '' || pool.name === name)
        .map((pool) => {
          const vfs = this.#of(pool.name)
          const claimed = vfs.filter((vf) => this.claims.has(vf.pci)).length
          return { pool, vfs: vfs.length, claimed, free: vfs.length - claimed, unusable: 0 }
        }),
    }),
  }

  #choose({ pci, pool, selector, owner }: VfAllocatorClaimRequest): Vf {
    if (pool !== '' && !this.pools.has(pool)) throw new HeddleError('vf-pool-unknown', `there is no VF pool ${pool}`)
    const isFree = (vf: Vf) => {
      const claim = this.claims.get(vf.pci)
      return vf.state === 'ready' && (claim === undefined || (owner !== '' && claim.owner === '' && pci === vf.pci))
    }
    const admitted = [...this.vfs.values()].filter((vf) => (pool === '' || this.#inPool(vf, pool)) && (selector === undefined || admits(selector, vf)))
    if (pci !== '') {
      const asked = admitted.find((vf) => vf.pci === pci)
      if (asked === undefined) throw new HeddleError('vf-unknown', `there is no VF ${pci} that suits`, { field: 'pci', remedy: 'choose another' })
      if (!isFree(asked)) throw inUse(pci, this.claims.get(pci)?.owner ?? '')
      return asked
    }
    const free = admitted.find(isFree)
    if (free !== undefined) return free
    throw new HeddleError('vf-exhausted', `none of ${admitted.length} VFs is free`, { field: 'pf', remedy: 'remove containers, or make more VFs' })
  }

  #vf(pci: string): Vf {
    const vf = this.vfs.get(pci)
    if (vf === undefined) throw new HeddleError('vf-unknown', `there is no VF ${pci}`)
    return vf
  }

  #read(vf: Vf): Vf {
    return { ...vf, claim: this.claims.get(vf.pci) }
  }

  #of(pool: string): Vf[] {
    return [...this.vfs.values()].filter((vf) => this.#inPool(vf, pool))
  }

  #inPool(vf: Vf, name: string): boolean {
    return this.pools.get(name)?.selectors.some((selector) => admits(selector, vf)) === true
  }
}

function inUse(pci: string, owner: string): HeddleError {
  return new HeddleError('vf-in-use', `VF ${pci} is in use by endpoint ${owner}`, { field: 'pci', remedy: 'choose another' })
}

function admits(selector: NonNullable<SriovNetwork['selector']>, vf: Vf): boolean {
  const pf = selector.pfNames.length === 0 || selector.pfNames.some((text) => isOf(text, vf.pfName, vf.index))
  const pci = selector.pciAddresses.length === 0 || selector.pciAddresses.some((text) => text === vf.pci || isOf(text, vf.pf, vf.index))
  return pf && pci && (selector.drivers.length === 0 || selector.drivers.includes(vf.driver))
}

function isOf(text: string, pf: string, index: number): boolean {
  const [name, indexes] = text.split('#', 2)
  return name === pf && (indexes === undefined || parseIndexes(indexes).includes(index))
}

function defined<T extends object>(given: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>
}
