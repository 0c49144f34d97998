/** Pools as records. */
import type { Client } from '@heddle/bus'
import type { NetworksDefinition, VfPool } from '@heddle/contract'
import { allPages, type Call, HeddleError, invalid } from '@heddle/core'
import { keys } from './keys.ts'
import { decodePool, encodePool } from './records.ts'
import type { VfRepo } from './repo.ts'

export type NetworkList = Pick<Client<typeof NetworksDefinition>, 'listNetworks'>

/** Creates or replaces. Fails with vf-pool-exists when only a new one will do and another shape is there. */
export async function putPool(repo: VfRepo, asked: VfPool, createOnly: boolean, call: Call): Promise<{ pool: VfPool; created: boolean }> {
  const key = keys.pool(asked.name)
  const rival =
    asked.resourceName === '' ? undefined : (await repo.poolsNow(call)).find((pool) => pool.name !== asked.name && pool.resourceName === asked.resourceName)
  if (rival !== undefined)
    throw invalid('pool.resourceName', `resource ${asked.resourceName} is pool ${rival.name}`, 'use another resource name, or add the selectors to that pool')
  const { result, revision } = await repo.decide<{ pool: VfPool; created: boolean }>(
    {
      keys: () => [key],
      decide: (known) => {
        const record = known.get(key)
        const there = record && decodePool(record)
        const pool = { ...asked, createdAt: there?.createdAt ?? call.clock.timestamp() }
        const found = there === undefined ? [] : differences(there, pool)
        if (there !== undefined && found.length === 0) return { write: [], result: { pool: there, created: false } }
        if (there !== undefined && createOnly) throw poolExists(there, found)
        return { write: [{ put: key, value: encodePool(pool) }], result: { pool, created: there === undefined } }
      },
    },
    call,
  )
  return revision === 0n ? result : { ...result, pool: { ...result.pool, revision } }
}

/** True when it was there. Fails with vf-pool-in-use, and with unavailable when networks cannot be asked. */
export async function deletePool(repo: VfRepo, networks: NetworkList, name: string, call: Call): Promise<boolean> {
  const key = keys.pool(name)
  if ((await repo.read(key, call)) === undefined) return false
  const all = await allPages(
    (pageToken) => networks.listNetworks({ pageToken }, call),
    (page) => page.networks,
  )
  const users = all.filter(({ sriov }) => sriov?.pool === name).map((network) => network.name)
  if (users.length > 0) {
    const more = users.length > 5 ? ` and ${users.length - 5} more` : ''
    throw new HeddleError('vf-pool-in-use', `VF pool ${name} is what network ${users.slice(0, 5).join(', ')}${more} takes its VFs from`, {
      field: 'name',
      remedy: 'delete the network first',
      details: { pool: name, networks: String(users.length) },
    })
  }
  const { result } = await repo.decide(
    { keys: () => [key], decide: (known) => ({ write: known.has(key) ? [{ delete: key }] : [], result: known.has(key) }) },
    call,
  )
  return result
}

function poolExists(there: VfPool, found: readonly string[]): HeddleError {
  return new HeddleError('vf-pool-exists', `VF pool ${there.name} exists with other ${found.join(' and ')}`, {
    field: 'pool.name',
    remedy: 'use the pool that is there, another name, or replace it; see "heddle vf pool ls"',
    details: { pool: there.name, differs: found.join(',') },
  })
}

/** Fields in which they differ. Selectors are alternatives: their order means nothing. */
function differences(there: VfPool, asked: VfPool): string[] {
  const comparable = ({ selectors, policy, driver, resourceName }: VfPool) => ({
    selectors: selectors.map((selector) => JSON.stringify(selector)).sort(),
    policy,
    driver,
    'resource name': resourceName,
  })
  const [a, b] = [comparable(there), comparable(asked)]
  return Object.keys(a).filter((field) => JSON.stringify(a[field as keyof typeof a]) !== JSON.stringify(b[field as keyof typeof b]))
}
