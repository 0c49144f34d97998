/** One VF under attack: who has it, what it should be like, and what is wrong with it. */
import { isDeepStrictEqual } from 'node:util'
import type { Look, Netdev, Place } from './look.ts'
import { host, networkId } from './orders.ts'

/** `mac`: igbvf is bound anew for it. */
export const styles = ['plain', 'mac', 'vfio-pci', 'trunk'] as const
export type Style = (typeof styles)[number]

/** `attaching`, `detaching`: asked for, and not answered. */
export type Phase = 'free' | 'attaching' | 'attached' | 'detaching'

/** JSON of the contract's Endpoint, as far as it is looked at. */
interface EndpointJson {
  readonly id: string
  readonly mac: string
  readonly addresses: readonly string[]
}

let endpoints = 0

export class Subject {
  readonly place: Place
  readonly gateway: string
  /** Of the contract, as vf-allocator has it on record. */
  readonly #vf: any
  readonly #baseline: Look
  phase: Phase = 'free'
  style: Style = 'plain'
  endpoint: EndpointJson | undefined

  constructor(place: Place, vf: any, baseline: Look) {
    this.place = place
    this.gateway = `10.9.${place.index}.1`
    this.#vf = vf
    this.#baseline = baseline
  }

  get vlan(): number {
    return 100 + this.place.index
  }

  /** The next endpoint's. */
  claim(style: Style): void {
    const { index, pci, sandbox, mac } = this.place
    const own = style === 'mac' || style === 'vfio-pci' ? `02:00:00:00:0${index}:10` : mac
    const settings = style === 'trunk' ? { trunk: [{ first: 7, last: 8 }] } : { vlan: this.vlan, vlanQos: 3, trust: true, spoofchk: false }
    const endpoint = {
      ...{ id: `e${++endpoints}`, networkId, host, sandbox: `/run/netns/${sandbox}`, interfaceName: 'net1' },
      ...{ addresses: style === 'vfio-pci' ? [] : [`10.9.${index}.2/24`], mac: own },
      vf: {
        ...{ pci, pf: this.#vf.pf, baseline: this.#vf.baseline, driver: style === 'vfio-pci' ? style : '' },
        settings: style === 'mac' ? { ...settings, mac: own } : settings,
      },
    }
    this.style = style
    this.endpoint = endpoint
    this.phase = 'attaching'
  }

  free(): void {
    this.phase = 'free'
    this.endpoint = undefined
  }

  /** As vf-allocator has it: a claim until its release was asked for, `releasing` once its endpoint is gone. */
  record(releasing: boolean): unknown {
    const { host, pci, generation } = this.#vf
    const { claim: _, ...free } = this.#vf
    if (this.endpoint === undefined) return free
    return { ...free, claim: { host, pci, owner: this.endpoint.id, networkId, generation, revision: '1', releasing } }
  }

  /** Where attach or detach had come to, by what can be seen. */
  step(seen: Look): string {
    return `${this.phase}: ${this.#stepOf(seen)}`
  }

  #stepOf({ driver, inside, outside, settings }: Look): string {
    const isSet = settings !== this.#baseline.settings
    if (driver === 'vfio-pci') return `bound to vfio-pci, ${isSet ? 'set' : 'not set'}`
    if (inside !== undefined) return inside.addresses.length > 0 ? 'configured in the sandbox' : 'moved into the sandbox'
    if (driver === '' || outside === undefined) return 'without netdev'
    if (outside.alias !== '') return isSet ? 'taken out, set' : 'taken out, reset'
    return isSet ? 'set' : 'at its baseline'
  }

  /** In words; empty: at its baseline, or owned and whole. */
  wrongs(seen: Look): string[] {
    const wrongs = this.endpoint === undefined ? this.#differences(seen) : this.#lacks(seen, this.endpoint)
    return wrongs.map((wrong) => `${this.place.pci} (${this.phase}, ${this.style}): ${wrong}: ${JSON.stringify(seen)}`)
  }

  #differences(seen: Look): string[] {
    const [is, should] = [shapeOf(seen), shapeOf(this.#baseline)]
    return (Object.keys(should) as (keyof Look)[])
      .filter((what) => !isDeepStrictEqual(is[what], should[what]))
      .map((what) => `${what} is not ${JSON.stringify(should[what])}`)
  }

  #lacks(seen: Look, { id, mac, addresses }: EndpointJson): string[] {
    const { style } = this
    const vlan = style === 'trunk' ? 0 : this.vlan
    const netdev: Netdev | undefined =
      style === 'vfio-pci' ? undefined : { ...{ name: 'net1', mac, mtu: 1500, alias: `heddle:${id}:${networkId}`, up: true }, addresses }
    const wanted = {
      ...{ vlan, driver: style === 'vfio-pci' ? 'vfio-pci' : 'igbvf', outside: undefined, inside: netdev },
      others: style === 'trunk' ? ['net1.7', 'net1.8'] : [],
    }
    return (Object.keys(wanted) as (keyof typeof wanted)[])
      .filter((what) => !isDeepStrictEqual(seen[what], wanted[what]))
      .map((what) => `${what} is not ${JSON.stringify(wanted[what])}`)
  }
}

/** Whether a free netdev is up is its host's business. */
function shapeOf(seen: Look): Look {
  return { ...seen, outside: seen.outside && { ...seen.outside, up: false } }
}
