/** Options that Docker's drivers, or the plugins named `sriov` before, know and that cannot be had here: why, and what to do. */
import { HeddleError } from '@heddle/core'

const gatewayMode = [
  'a bridge of Heddle does the same for both families',
  'leave it out for nat, give com.docker.network.bridge.enable_ip_masquerade=false for routed, or --internal for isolated',
] as const
const sourceAddress = [
  'what leaves a network has the address of the interface it leaves by',
  'leave it out, or give com.docker.network.bridge.enable_ip_masquerade=false and a rule of your own',
] as const

const refused: Readonly<Record<string, readonly [why: string, remedy: string]>> = {
  driver: ['Docker gives a container a network interface, which a VF bound to a user-space driver has not', 'leave it out; CNI and Kubernetes take such VFs'],
  apart: ['Docker says for which container a VF is only after the VF is chosen', 'leave it out, and make a network for each PF'],
  rocehoplimit: ["the hop limit of RoCE is of the RDMA device, not of a container's VF", 'leave it out, and set it on the host'],
  ipvlan_flag: ['the endpoints of an ipvlan network reach each other', 'leave it out, or use -o kind=macvlan -o macvlan_mode=private'],
  encrypted: ['overlay networks are not encrypted', 'leave it out, and encrypt what is between the hosts'],
  dsr: ["it is of the load balancer of Docker's own overlay", 'leave it out'],
  'com.docker.network.driver.overlay.vxlanid_list': ['a network has one VNI, whatever its subnets', 'give it as -o vni=NUMBER'],
  'com.docker.network.bridge.name': ['Heddle names its bridges itself, so that no other link is taken for one', 'leave it out'],
  'com.docker.network.bridge.gateway_mode_ipv4': gatewayMode,
  'com.docker.network.bridge.gateway_mode_ipv6': gatewayMode,
  'com.docker.network.bridge.inhibit_ipv4': ["the gateway of the network's containers is the bridge's own address", 'leave it out'],
  'com.docker.network.bridge.trusted_host_interfaces': ['no interface of the host is kept from the containers', 'leave it out'],
  'com.docker.network.bridge.default_bridge': ['it is of the bridge that dockerd makes for itself', 'leave it out'],
  'com.docker.network.host_ipv4': sourceAddress,
  'com.docker.network.host_ipv6': sourceAddress,
}

/** Fails with `unsupported`; called before an option is looked for among those there are. */
export function refuseUnsupported(key: string): void {
  if (!Object.hasOwn(refused, key)) return
  const [why, remedy] = refused[key] ?? []
  throw new HeddleError('unsupported', `driver option ${key} cannot be had: ${why}`, { field: key, remedy })
}
