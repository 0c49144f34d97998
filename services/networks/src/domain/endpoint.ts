/** What an endpoint record may be. */
import type { Endpoint, Network, PortMapping } from '@heddle/contract'
import { checkContainerId, checkHostName, checkInterfaceName, checkOpaqueId, HeddleError, invalid, macOf } from '@heddle/core'
import { canonicalIp, contains, formatAddressPrefix, formatMac, isInterfaceMac, parseAddressPrefix, parseMac, parsePrefix } from '@heddle/net'
import { checkNetworkId, parsed } from './network.ts'
import { checkVf } from './sriov.ts'

const states = ['reserved', 'wired', 'detaching', 'addressed']
const runtimes = ['docker', 'cni']
const protocols = ['tcp', 'udp', 'sctp']
const maxAddresses = 32
const maxPorts = 1024
/** PATH_MAX of linux/limits.h. */
const maxPath = 4096

/** The record with every field checked and in canonical form; an empty MAC becomes the one of the id. Throws invalid-argument. */
export function checkEndpoint(endpoint: Endpoint): Endpoint {
  const { state, runtime, sandbox, interfaceName, containerId, containerName } = endpoint
  if (!states.includes(state))
    throw invalid('endpoint.state', `endpoint state ${JSON.stringify(state)} is unknown`, `use ${states.map((one) => JSON.stringify(one)).join(', ')}`)
  if (!runtimes.includes(runtime)) throw invalid('endpoint.runtime', `runtime ${JSON.stringify(runtime)} is unknown`, 'use "docker" or "cni"')
  if (sandbox !== '' && (!sandbox.startsWith('/') || sandbox.includes('\0') || sandbox.length > maxPath)) {
    throw invalid('endpoint.sandbox', 'the sandbox is not an absolute path', 'give the path of a network namespace, e.g. /run/netns/x')
  }
  if (state === 'addressed' && sandbox === '')
    throw invalid(
      'endpoint.sandbox',
      'an endpoint that has addresses alone needs its sandbox: how long it is there decides',
      'give the path of its network namespace',
    )
  if (containerName.length > 255) throw invalid('endpoint.containerName', 'the container name is longer than 255 characters')
  if (endpoint.addresses.length > maxAddresses)
    throw invalid('endpoint.addresses', `an endpoint cannot have ${endpoint.addresses.length} addresses`, `use at most ${maxAddresses}`)
  if (endpoint.ports.length > maxPorts) throw invalid('endpoint.ports', `an endpoint cannot publish ${endpoint.ports.length} ports`, `use at most ${maxPorts}`)
  const id = checkOpaqueId(endpoint.id, 'endpoint.id')
  return {
    ...endpoint,
    id,
    networkId: checkNetworkId(endpoint.networkId, 'endpoint.networkId'),
    host: checkHostName(endpoint.host, 'endpoint.host'),
    mac: endpoint.mac === '' ? macOf(id) : checkMac(endpoint.mac),
    addresses: checkAddresses(endpoint.addresses),
    interfaceName: interfaceName === '' ? '' : checkInterfaceName(interfaceName, 'endpoint.interfaceName'),
    containerId: containerId === '' ? '' : checkContainerId(containerId, 'endpoint.containerId'),
    ports: endpoint.ports.map((port, index) => checkPort(port, `endpoint.ports[${index}]`)),
    vf: checkVf(endpoint.vf),
    ipam: endpoint.ipam ? checkPlugin(endpoint.ipam) : undefined,
  }
}

/** Throws address-outside-pool when an address is in none of the network's pools; another IPAM plugin's need not be. */
export function checkInPools(endpoint: Endpoint, network: Network): void {
  if (endpoint.ipam) return
  const pools = network.pools.map((pool) => parsePrefix(pool.prefix))
  for (const [index, address] of endpoint.addresses.entries()) {
    const { ip } = parseAddressPrefix(address)
    if (pools.some((pool) => contains(pool, ip))) continue
    const known = network.pools.map((pool) => pool.prefix).join(', ') || 'none'
    throw new HeddleError('address-outside-pool', `address ${address} is in no pool of network ${network.name} (pools: ${known})`, {
      field: `endpoint.addresses[${index}]`,
      remedy: `use an address that ipam allocated from a pool of ${network.name}`,
    })
  }
}

/** By what an endpoint is known to people, for messages. */
export function describe(endpoint: Endpoint): string {
  const name = endpoint.containerName || endpoint.containerId.slice(0, 12) || endpoint.id.slice(0, 12)
  return `${name} on ${endpoint.host}`
}

function checkPlugin(name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name))
    throw invalid('endpoint.ipam', `${JSON.stringify(name.slice(0, 80))} is no name of a plugin`, 'use up to 64 letters, digits, "_", "." and "-"')
  return name
}

function checkMac(text: string): string {
  const mac = parsed('endpoint.mac', () => parseMac(text))
  if (!isInterfaceMac(mac)) throw invalid('endpoint.mac', `${formatMac(mac)} is not a unicast MAC address`, 'clear the lowest bit of the first octet')
  return formatMac(mac)
}

function checkAddresses(addresses: readonly string[]): string[] {
  const canonical = addresses.map((text, index) => {
    const { ip, prefix } = parsed(`endpoint.addresses[${index}]`, () => parseAddressPrefix(text))
    return formatAddressPrefix(ip, prefix.length)
  })
  const twice = canonical.findIndex((text, index) => canonical.indexOf(text) < index)
  if (twice >= 0) throw invalid(`endpoint.addresses[${twice}]`, `address ${canonical[twice]} is given twice`)
  return canonical
}

function checkPort(port: PortMapping, field: string): PortMapping {
  if (!protocols.includes(port.protocol))
    throw invalid(`${field}.protocol`, `protocol ${JSON.stringify(port.protocol)} is unknown`, 'use "tcp", "udp" or "sctp"')
  if (port.hostPort > 65_535) throw invalid(`${field}.hostPort`, `${port.hostPort} is not a port`, 'use 1 to 65535, or 0 for any')
  if (port.containerPort < 1 || port.containerPort > 65_535) throw invalid(`${field}.containerPort`, `${port.containerPort} is not a port`, 'use 1 to 65535')
  return port.hostAddress === '' ? port : { ...port, hostAddress: parsed(`${field}.hostAddress`, () => canonicalIp(port.hostAddress)) }
}
