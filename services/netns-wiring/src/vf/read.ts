/** One VF for a person: wherever its netdev is, and what it differs in; its driver, for who has claimed it; which endpoints have one. */
import { type Attachment, type BindVfResponse, busServices, type Endpoint, type Network, type ReadVfResponse, type Vf, type VfBaseline } from '@heddle/contract'
import { type Call, HeddleError, invalid, undoCall, withCall } from '@heddle/core'
import { isUserSpaceDriver, type LinkInfo } from '@heddle/kernel'
import { parseEndpointAlias, waitingVfName } from '../domain/names.ts'
import type { HostContext } from '../host-context.ts'
import type { VfView } from './cards.ts'
import { deviceNodes } from './drivers.ts'
import type { VfParts } from './endpoints.ts'
import { inUse } from './put-in.ts'
import { type VfShape, vfShape } from './shape.ts'
import { baselineDifferences, shapeDifferences } from './verify.ts'

const recordsMs = 2000

/** Throws vf-unknown. */
export async function readVf(parts: VfParts, pci: string, call: Call): Promise<ReadVfResponse> {
  const { cards, whereabouts, reporter, held } = parts
  const view = await cards.get(pci, call)
  await reporter.tell(call)
  const vf = message(parts, pci)
  const hasNetdev = view.vf.driver !== '' && !isUserSpaceDriver(view.vf.driver)
  const hint = held.of(pci)
  const place =
    view.link !== undefined || !hasNetdev
      ? undefined
      : ((await whereabouts.inside(hint?.sandbox ?? '', pci, call, hint?.id)) ?? (await whereabouts.anywhere(pci, call)))
  const link = view.link ?? place?.link
  return {
    vf,
    found: link !== undefined,
    namespace: place?.namespace ?? '',
    interfaceName: link?.name ?? '',
    differences: await differencesOf(parts, view, link, vf?.baseline, call),
  }
}

/** From its endpoint's settings when it has one, else from its baseline. */
async function differencesOf(parts: VfParts, view: VfView, link: LinkInfo | undefined, baseline: VfBaseline | undefined, call: Call): Promise<string[]> {
  const owner = parts.held.of(view.vf.pci)?.id ?? parts.reporter.claim(view.vf.pci)?.owner ?? ''
  const shape = owner === '' ? undefined : (parts.held.get(owner) ?? (await recordedShape(parts.context, owner, baseline, call)))
  if (shape !== undefined) return shapeDifferences(view, link, shape)
  return baseline === undefined ? ['no baseline is recorded yet'] : baselineDifferences(view, baseline)
}

/** What a record wants of the endpoint's VF; undefined when there is none, or nobody answers. */
async function recordedShape(context: HostContext, endpointId: string, baseline: VfBaseline | undefined, call: Call): Promise<VfShape | undefined> {
  const records = await withCall({ ...undoCall(call, recordsMs), signal: call.signal }, async (inner) => {
    const client = context.bus.client(busServices.networks)
    const endpoint: Endpoint | undefined = (await client.listEndpoints({ id: endpointId }, inner)).endpoints[0]
    const network: Network | undefined = endpoint === undefined ? undefined : (await client.getNetwork({ id: endpoint.networkId }, inner)).network
    return { endpoint, network }
  }).catch(() => undefined)
  const was = records?.endpoint?.vf?.baseline ?? baseline
  if (records?.endpoint === undefined || records.network === undefined || was === undefined) return undefined
  return vfShape(records.network, records.endpoint, was)
}

/** Empty: its kernel driver, with the nodes of its RDMA devices. Throws vf-unknown, vf-in-use, invalid-argument, unsupported. */
export async function bindVf(parts: VfParts, { pci, driver }: { readonly pci: string; readonly driver: string }, call: Call): Promise<BindVfResponse> {
  const { cards, drivers, reporter, held, vfQueue } = parts
  if (driver !== '' && driver !== 'vfio-pci')
    throw invalid('driver', `VFs are not handed out by driver ${JSON.stringify(driver)}`, 'use "vfio-pci", or nothing')
  await cards.get(pci, call)
  if (reporter.claim(pci) === undefined) await reporter.now(call)
  if (reporter.claim(pci) === undefined) throw invalid('pci', `nobody has claimed VF ${pci}, so it stays with its kernel driver`, 'claim it first')
  await vfQueue.run(pci, async () => {
    const view = await cards.get(pci, call)
    const baseline = reporter.baseline(pci)
    const holder = held.of(pci)
    if (holder !== undefined && holder.driver !== driver) throw inUse(pci, `is in use by endpoint ${holder.id}`, holder.sandbox)
    const isAway = view.link === undefined && view.vf.driver !== '' && !isUserSpaceDriver(view.vf.driver) && (baseline?.name ?? '') !== ''
    if (isAway && driver !== '') throw inUse(pci, "is in use: its netdev is not in the host's namespace")
    if (driver !== '') await drivers.bindUserSpace(view, driver, call)
    else if (baseline !== undefined && view.vf.driver !== baseline.driver) await drivers.bindBack(pci, baseline.driver, baseline.name !== '', call)
  })
  await reporter.tell(call)
  const vf = message(parts, pci)
  return { vf, deviceNodes: [...deviceNodes(vf?.driver ?? '', vf?.iommuGroup ?? ''), ...(await cards.sysfs.rdmaNodes(pci))] }
}

/** Endpoints that have a VF on this host. Throws unavailable while claims of an earlier process may not be known. */
export async function vfAttachments({ reporter, held, cards, context }: VfParts, call: Call): Promise<Attachment[]> {
  if (!reporter.hasDevices) return []
  if (!reporter.informed) {
    throw new HeddleError('unavailable', `which endpoints of host ${context.host} have a VF is not known until vf-allocator answers`, {
      remedy: 'see whether vf-allocator and NATS run',
    })
  }
  const found: Attachment[] = []
  // What was attached since the last answer is held; what an earlier process attached is claimed.
  const owners = new Map([
    ...reporter.claims.map(({ owner, networkId, pci }) => [owner, { networkId, pci }] as const),
    ...held.all.map((shape) => [shape.id, shape] as const),
  ])
  for (const [owner, { networkId, pci }] of owners) {
    if (owner === '') continue
    const vf = await cards.function(pci, call)
    if (vf === undefined) continue
    const link = await cards.linkOf(vf, call)
    const attachment = { endpointId: owner, networkId, hostInterface: link?.name ?? '' }
    if (isUserSpaceDriver(vf.driver)) found.push({ ...attachment, inSandbox: true })
    else if (link === undefined) {
      // Nowhere on the host and not handed to a process: in its sandbox. When that ends, the kernel gives it back to the host.
      if (vf.driver !== '') found.push({ ...attachment, inSandbox: true })
    } else if (parseEndpointAlias(link.alias)?.endpointId === owner && link.name === waitingVfName(owner)) {
      // Waiting for dockerd. One that came back from a sandbox that ended has another name, and is nobody's interface.
      found.push({ ...attachment, inSandbox: false })
    }
  }
  return found
}

function message({ reporter }: VfParts, pci: string): Vf | undefined {
  const vf = reporter.messages().find((one) => one.pci === pci)
  if (vf === undefined) return undefined
  const baseline = reporter.baseline(pci)
  const claim = reporter.claim(pci)
  return { ...vf, ...(baseline === undefined ? {} : { baseline }), ...(claim === undefined ? {} : { claim }) }
}
