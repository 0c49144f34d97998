/** `WhoHas`: who has an address, a MAC, a VF or a container. What is asked for is told from its shape. */
import type { Claim, Endpoint, Vf, WhoHasResponse } from '@heddle/contract'
import { allPages, type Call, HeddleError, invalid } from '@heddle/core'
import { canonicalIp, canonicalMac, canonicalPci, contains, isIp, isPciAddress, parseIp, parsePrefix } from '@heddle/net'
import type { FlowParts } from '../flows/parts.ts'
import { together } from '../flows/undo.ts'
import { vfsOf } from './vf.ts'

type Kind = 'address' | 'mac' | 'pci' | 'container'

/** Fails with invalid-argument when nothing was asked, with endpoint-unknown when nobody has it. */
export async function whoHas(parts: FlowParts, query: string, call: Call): Promise<WhoHasResponse> {
  const text = query.trim()
  if (text === '') throw invalid('query', 'nothing was asked for', 'give an IP address, a MAC, a PCI address or a container')
  const { kind, value } = asked(text)
  const found = await finders[kind](parts, value, call)
  if (found.endpoints.length + found.claims.length + found.vfs.length === 0) {
    throw new HeddleError('endpoint-unknown', `nobody has ${kind === 'container' ? `a container ${JSON.stringify(text)}` : `${kind} ${text}`}`, {
      field: 'query',
      remedy: 'list what there is with `heddle endpoint ls` and `heddle vf ls`',
    })
  }
  const held = (await vfsHeldBy(parts, found.endpoints, call)).filter((vf) => !found.vfs.some(({ host, pci }) => host === vf.host && pci === vf.pci))
  return { askedAs: kind, ...found, vfs: [...found.vfs, ...held] }
}

/** VFs beside those of the endpoints. */
type Found = Omit<WhoHasResponse, 'askedAs'>

const finders: Readonly<Record<Kind, (parts: FlowParts, value: string, call: Call) => Promise<Found>>> = {
  async address(parts, address, call) {
    const [endpoints, claims] = await together([
      endpointsWhere(parts, (endpoint) => endpoint.addresses.some((one) => bare(one) === address), call),
      claimsOf(parts, address, call),
    ])
    return { endpoints, claims, vfs: [] }
  },
  async mac(parts, mac, call) {
    const [endpoints, vfs] = await together([endpointsWhere(parts, (endpoint) => endpoint.mac === mac, call), vfsOf(parts, {}, call)])
    return { endpoints, claims: [], vfs: vfs.filter((vf) => vf.mac === mac || vf.settings?.mac === mac) }
  },
  async pci(parts, pci, call) {
    const [endpoints, vfs] = await together([endpointsWhere(parts, (endpoint) => endpoint.vf?.pci === pci, call), vfsOf(parts, { pci }, call)])
    return { endpoints, claims: [], vfs }
  },
  async container(parts, name, call) {
    const endpoints = await endpointsWhere(parts, ({ containerId, containerName }) => containerId.startsWith(name) || containerName === name, call)
    const claims = await together(endpoints.map(({ id }) => parts.cluster.ipam.listClaims({ owner: id }, call)))
    return { endpoints, claims: claims.flatMap((answer) => answer.claims), vfs: [] }
  },
}

const macShape = /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i

function asked(text: string): { readonly kind: Kind; readonly value: string } {
  if (isPciAddress(text)) return { kind: 'pci', value: canonicalPci(text) }
  if (macShape.test(text)) return { kind: 'mac', value: canonicalMac(text) }
  const address = bare(text)
  return isIp(address) ? { kind: 'address', value: canonicalIp(address) } : { kind: 'container', value: text }
}

/** Pools of different spaces may contain the same address. A claim whose endpoint is not recorded has no more than its owner's id. */
async function claimsOf(parts: FlowParts, address: string, call: Call): Promise<Claim[]> {
  const { ipam } = parts.cluster
  const pools = await allPages(
    (pageToken) => ipam.listPools({ pageToken }, call),
    (page) => page.pools,
  )
  const ip = parseIp(address)
  const around = pools.flatMap(({ pool }) => (pool !== undefined && contains(parsePrefix(pool.prefix), ip) ? [pool] : []))
  const claims = await together(
    around.map(({ id }) =>
      allPages(
        (pageToken) => ipam.listClaims({ poolId: id, pageToken }, call),
        (page) => page.claims,
      ),
    ),
  )
  return claims.flat().filter((claim) => claim.address === address)
}

async function vfsHeldBy(parts: FlowParts, endpoints: readonly Endpoint[], call: Call): Promise<Vf[]> {
  const holders = endpoints.filter(({ vf }) => vf !== undefined)
  const owners = new Set(holders.map(({ id }) => id))
  const vfs = await together([...new Set(holders.map(({ host }) => host))].map((host) => vfsOf(parts, { host }, call)))
  return vfs.flat().filter(({ claim }) => claim !== undefined && owners.has(claim.owner))
}

async function endpointsWhere(parts: FlowParts, test: (endpoint: Endpoint) => boolean, call: Call): Promise<Endpoint[]> {
  const all = await allPages(
    (pageToken) => parts.cluster.networks.listEndpoints({ pageToken }, call),
    (page) => page.endpoints,
  )
  return all.filter(test)
}

function bare(address: string): string {
  return address.split('/', 1)[0] ?? ''
}
