/** Where the links of a kind come from, and where they go when their endpoint is detached. */
import type { Endpoint, Network } from '@heddle/contract'
import type { Call, HeddleError } from '@heddle/core'
import type { LinkInfo, Namespace, Step } from '@heddle/kernel'
import type { Place } from './places.ts'

/** Where an endpoint's link belongs. */
export interface Target {
  readonly endpointId: string
  readonly networkId: string
  /** The sandbox, or the host's namespace when the engine moves the link itself (Docker). */
  readonly ns: Namespace
  readonly name: string
  /** Path of the sandbox; empty for Docker. */
  readonly sandbox: string
}

export interface Plan {
  /** The last one makes the link, or moves it, to where it belongs, marked. */
  readonly steps: readonly Step[]
  /** Of the link then. */
  readonly mac: string
  /** Takes back what the steps before the last have done, when that was refused. */
  undo(call: Call): Promise<void>
}

export interface Source {
  /** What only one endpoint at a time is made from. Throws invalid-argument for a record that does not say it. */
  key(network: Network): string
  /** Reads only. Throws device-unknown, device-in-use, unsupported, invalid-argument. */
  plan(network: Network, endpoint: Endpoint, target: Target, call: Call): Promise<Plan>
  /** Why the plan's steps were refused. */
  failure(error: unknown, plan: Plan, network: Network, target: Target, call: Call): Promise<HeddleError>
  /** In what the link of an endpoint is not as its network wants it, in words. Reads only. */
  differences(network: Network, endpoint: Endpoint, place: Place, call: Call): Promise<string[]>
  /** Has whoever knew the addresses by another MAC learn this one: now, by the steps it answers, or behind the answer. */
  announce(network: Network, target: Target, mac: string, addresses: readonly string[]): Step[]
  /** False when it was gone already. May be repeated. */
  takeAway(place: Place, call: Call): Promise<boolean>
}

/** An endpoint's link as this process made or found it. */
export interface Held {
  readonly networkId: string
  /** Empty: somebody else moves it, to where he likes. */
  readonly sandbox: string
  /** As it was last seen. */
  readonly ns: Namespace
  readonly link: LinkInfo
  readonly isDevice: boolean
}
