/** The brains and the hands as the flows call them. */
import type { Bus, Client } from '@heddle/bus'
import {
  busServices,
  type IpamDefinition,
  type NetworksDefinition,
  type OverlayDefinition,
  type VfAllocatorDefinition,
  type WiringDefinition,
} from '@heddle/contract'

export interface Cluster {
  /** The host this gateway is the door of. */
  readonly host: string
  readonly ipam: Client<typeof IpamDefinition>
  readonly networks: Client<typeof NetworksDefinition>
  readonly overlay: Client<typeof OverlayDefinition>
  readonly vfAllocator: Client<typeof VfAllocatorDefinition>
  /** The hands of this host. */
  readonly wiring: Client<typeof WiringDefinition>
  wiringOf(host: string): Client<typeof WiringDefinition>
}

export function clusterOf(bus: Bus, host: string): Cluster {
  return {
    host,
    ipam: bus.client(busServices.ipam),
    networks: bus.client(busServices.networks),
    overlay: bus.client(busServices.overlay),
    vfAllocator: bus.client(busServices.vfAllocator),
    wiring: bus.client(busServices.wiring, host),
    wiringOf: (name) => bus.client(busServices.wiring, name),
  }
}
