/** What an earlier life or a crash has left on this host, for `heddle doctor`: only told, the reconciler removes what is its to remove. */
import { readdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Finding } from '@heddle/contract'
import type { Call } from '@heddle/core'
import { type Kernel, type LinkInfo, type Namespace, probePrefix } from '@heddle/kernel'
import { parseEndpointAlias, parseNetworkAlias } from './domain/names.ts'
import type { Fabric } from './fabric.ts'
import type { HostContext } from './host-context.ts'
import type { NftTable } from './nft-table.ts'

export interface LeftoverParts {
  readonly context: HostContext
  readonly fabric: Fabric
  readonly vxlanTable: NftTable
  readonly bridgeTable: NftTable
  /** Names of links whose endpoint no record names; none when the records cannot be read. */
  readonly orphans: (call: Call) => Promise<readonly string[]>
}

/** A probe that is running now is not left over. */
const probeAgeMs = 60_000

/** `links`: those with our names, by namespace. */
export async function leftovers(parts: LeftoverParts, links: ReadonlyMap<Namespace, readonly LinkInfo[]>, call: Call): Promise<Finding[]> {
  const { context, fabric, vxlanTable, bridgeTable, orphans } = parts
  const found: Finding[] = []
  const tell = (message: string, remedy: string) => found.push({ level: 'warning', subject: 'leftover', message, remedy })
  const waits = 'the reconciler removes it within minutes if nobody claims it'
  for (const { name, alias } of [...links.values()].flat()) {
    const isMarked = name.startsWith('hp') || parseEndpointAlias(alias) !== undefined || parseNetworkAlias(alias) !== undefined
    if (!isMarked) tell(`link ${name} carries no mark of its endpoint or network`, waits)
  }
  for (const name of await orphans(call)) tell(`link ${name} belongs to no recorded endpoint`, waits)
  const path = fabric.ns.path
  if (fabric.exists && (await context.kernel.links(fabric.ns, call)).every(({ name }) => name === 'lo')) {
    tell(`the fabric namespace ${path} is empty`, `the next overlay network uses it again; to remove it: umount ${path}; rm ${path}`)
  }
  for (const table of [vxlanTable, bridgeTable]) {
    await table.refresh(call)
    if (table.unwanted > 0)
      tell(`nftables table inet ${table.name} has ${table.unwanted} elements nobody asked for`, 'the reconciler removes them once it knows every network')
  }
  for (const probe of oldProbes(context.kernel)) tell(`${probe} is left of a probe that was ended`, `umount ${probe}; rm ${probe}`)
  return found
}

function oldProbes(kernel: Kernel): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(probePrefix))
    .map((name) => join(tmpdir(), name))
    .filter((path) => kernel.namespaceInode(path) !== undefined && Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) > probeAgeMs)
}
