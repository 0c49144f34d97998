/** CNI CHECK of an endpoint that has a VF: every difference, in words. Changes nothing. */
import { type Endpoint, type Network, type Route, VfBaseline } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { checkSandbox } from '../check.ts'
import type { VfParts } from './endpoints.ts'
import { vfShape, vlansOf } from './shape.ts'
import { shapeDifferences } from './verify.ts'

export async function checkVf(parts: VfParts, network: Network, endpoint: Endpoint, routes: readonly Route[], call: Call): Promise<string[]> {
  const { context, cards, reporter, whereabouts } = parts
  const pci = endpoint.vf?.pci ?? ''
  const baseline = endpoint.vf?.baseline ?? reporter.baseline(pci)
  const view = await cards.read(pci, call)
  if (view === undefined) return [`VF ${pci} is gone`]
  const shape = vfShape(network, endpoint, baseline ?? VfBaseline.fromPartial({ driver: view.vf.driver }))
  const { sandbox, interfaceName, mac, mtu } = shape
  if (sandbox !== '' && context.kernel.namespaceInode(sandbox) === undefined) return [`the sandbox ${sandbox} is gone`]
  // Docker's netdev is wherever dockerd has put it.
  const link = sandbox === '' ? (view.link ?? (await whereabouts.anywhere(pci, call))?.link) : (await whereabouts.inside(sandbox, pci, call, shape.id))?.link
  const differences = shapeDifferences(view, link, shape).map((difference) => `VF ${pci}: ${difference}`)
  if (link === undefined || sandbox === '') return differences
  const inside = shape.trunk.length === 0 || view.vf.trunkFile !== '' ? [] : await context.kernel.links({ path: sandbox }, call)
  for (const vlan of view.vf.trunkFile === '' ? vlansOf(shape.trunk) : []) {
    if (!inside.some(({ name }) => name === `${interfaceName}.${vlan}`)) differences.push(`VLAN ${vlan} of the trunk has no subinterface of ${interfaceName}`)
  }
  const wanted = { peerNs: { path: sandbox }, peerName: interfaceName, mac, mtu: mtu || link.mtu }
  return [...new Set([...differences, ...(await checkSandbox(parts, wanted, sandbox, endpoint.addresses, routes, call))])]
}
