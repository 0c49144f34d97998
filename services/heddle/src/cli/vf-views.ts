/** PFs, VFs and their pools as people read them. */
import type { GetVfResponse, ListedVf, Pf, Vf, VfPool, VfPoolUsage, VfRepair, WhoHasResponse } from '@heddle/contract'
import { facts, shortId, table, timestamp } from './output.ts'
import { selectorText, settingsText } from './vf-settings.ts'
import { claimTable, containerOf, endpointTable } from './views.ts'

export function pfTable(pfs: readonly Pf[]): string {
  return table(
    ['HOST', 'PF', 'PCI', 'DRIVER', 'NUMA', 'LINK', 'ESWITCH', 'VFS', 'MOST', 'FREE', 'CLAIMED'],
    pfs.map((pf) => [
      pf.host,
      pf.names.join(' '),
      pf.pci,
      pf.driver,
      numa(pf.numaNode),
      `${pf.linkType} ${pf.carrier ? 'up' : 'down'}`,
      pf.held ? `${pf.eswitchMode} (changing)` : pf.eswitchMode,
      String(pf.numVfs),
      String(pf.totalVfs),
      String(pf.freeVfs),
      String(pf.claimedVfs),
    ]),
  )
}

export function vfTable(vfs: readonly ListedVf[]): string {
  return table(
    ['HOST', 'PF', 'VF', 'PCI', 'DRIVER', 'STATE', 'VLAN', 'NETWORK', 'CONTAINER', 'REASON'],
    vfs.flatMap(({ vf, endpoint }) =>
      vf === undefined
        ? []
        : [
            [
              vf.host,
              vf.pfName || vf.pf,
              String(vf.index),
              vf.pci,
              vf.driver,
              stateOf(vf),
              vf.settings?.vlan ? String(vf.settings.vlan) : '',
              endpoint?.networkName ?? '',
              endpoint === undefined ? shortId(vf.claim?.owner ?? '') : containerOf(endpoint),
              vf.reason,
            ],
          ],
    ),
  )
}

export function vfFacts({ vf: listed, kernel }: GetVfResponse): string {
  const vf = listed?.vf
  if (vf === undefined) return ''
  const { endpoint } = listed ?? {}
  const seen = kernel?.vf ?? vf
  return facts([
    ['VF', `${vf.pci} (VF ${vf.index} of ${vf.pfName || vf.pf} on ${vf.host})`],
    ['state', stateOf(vf)],
    ['reason', vf.reason],
    ['endpoint', endpoint === undefined ? (vf.claim?.owner ?? '') : `${endpoint.id} on ${endpoint.networkName}`],
    ['container', endpoint === undefined ? '' : containerOf(endpoint)],
    ['reserved by', vf.claim?.reservedBy ?? ''],
    ['claimed', timestamp(vf.claim?.createdAt ?? '')],
    ['driver', seen.driver || 'none'],
    ['netdev', whereIs(kernel)],
    ['MAC', seen.mac],
    ['device', `${vf.vendor}:${vf.device}, NUMA node ${numa(vf.numaNode)}, ${vf.linkType}`],
    ['IOMMU group', vf.iommuGroup],
    ['RDMA', vf.rdmaDevices.join(' ')],
    ['vDPA', vf.vdpaDevices.join(' ')],
    ['representor', vf.representor],
    ['set to', settingsText(seen.settings)],
    ['baseline', settingsText(vf.baseline?.settings)],
    ['differences', (kernel?.differences ?? []).join('; ')],
  ])
}

export function repairTable(repairs: readonly VfRepair[]): string {
  return table(
    ['VF', 'OUTCOME', 'DIFFERED'],
    repairs.map(({ pci, outcome, differences }) => [pci, outcome, differences.join('; ')]),
  )
}

export function vfPoolTable(pools: readonly VfPoolUsage[]): string {
  return table(
    ['POOL', 'POLICY', 'SELECTS', 'DRIVER', 'RESOURCE', 'VFS', 'FREE', 'CLAIMED', 'UNUSABLE'],
    pools.flatMap(({ pool, vfs, free, claimed, unusable }) =>
      pool === undefined
        ? []
        : [
            [
              pool.name,
              pool.policy || 'pack',
              selectorsText(pool),
              pool.driver,
              pool.resourceName,
              String(vfs),
              String(free),
              String(claimed),
              String(unusable),
            ],
          ],
    ),
  )
}

export function vfPoolFacts(pool: VfPool, vfs: number): string {
  return facts([
    ['pool', pool.name],
    ['selects', selectorsText(pool)],
    ['policy', pool.policy || 'pack'],
    ['driver', pool.driver],
    ['resource', pool.resourceName],
    ['VFs now', String(vfs)],
  ])
}

export function whoHasText({ endpoints, claims, vfs }: WhoHasResponse): string {
  return [
    endpoints.length === 0 ? '' : endpointTable(endpoints),
    claims.length === 0 ? '' : claimTable(claims),
    vfs.length === 0 ? '' : vfTable(vfs.map((vf) => ({ vf, endpoint: endpoints.find(({ id }) => id === vf.claim?.owner) }))),
  ]
    .filter((part) => part !== '')
    .join('\n')
}

function stateOf(vf: Vf): string {
  if (vf.claim?.releasing) return 'releasing'
  if (vf.claim !== undefined && vf.claim.owner === '' && vf.claim.reservedBy !== '') return `reserved (${vf.claim.reservedBy})`
  return vf.state === 'ready' && vf.claim !== undefined ? 'claimed' : vf.state
}

function whereIs(kernel: GetVfResponse['kernel']): string {
  if (kernel === undefined || !kernel.found) return ''
  return `${kernel.interfaceName} in ${kernel.namespace || "the host's namespace"}`
}

function numa(node: number): string {
  return node < 0 ? 'none' : String(node)
}

function selectorsText({ selectors }: VfPool): string {
  return selectors.map(selectorText).join(' or ')
}
