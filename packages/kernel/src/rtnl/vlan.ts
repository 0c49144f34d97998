/** VLAN protocols by the numbers of linux/if_ether.h. */
import { ETH_P_8021AD, ETH_P_8021Q } from './constants.ts'
import { InvalidValue } from './wire.ts'

export type VlanProtocol = '802.1q' | '802.1ad'

export function vlanProtocol(protocol: VlanProtocol): number {
  if (protocol === '802.1q') return ETH_P_8021Q
  if (protocol === '802.1ad') return ETH_P_8021AD
  throw new InvalidValue('vlan', `${JSON.stringify(protocol)} is no VLAN protocol: 802.1q or 802.1ad`)
}
