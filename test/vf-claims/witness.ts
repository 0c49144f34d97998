/** Reads the history of all claims from etcd itself, and says where one VF had two owners or one owner two VFs. */
import { VfClaim } from '@heddle/contract'
import type { Store, StoredRecord } from '@heddle/store'

const prefix = 'heddle/vf/claim/'

export interface Witness {
  readonly violations: readonly string[]
  /** Changes of owner seen. */
  readonly changes: number
  close(): Promise<void>
}

export async function watchClaims(store: Store): Promise<Witness> {
  const violations: string[] = []
  const owners = new Map<string, string>()
  let changes = 0
  const ownerOf = (record: StoredRecord) => VfClaim.fromJSON(JSON.parse(record.value)).owner
  const watching = store.watch(prefix, {
    onSnapshot: ({ records }) => {
      owners.clear()
      for (const record of records) owners.set(record.key, ownerOf(record))
    },
    onBatch: ({ revision, puts, deletes }) => {
      for (const { key } of deletes) owners.delete(key)
      for (const record of puts) {
        const [before, after] = [owners.get(record.key) ?? '', ownerOf(record)]
        if (before !== '' && after !== '' && before !== after) violations.push(`revision ${revision}: ${record.key} went from ${before} to ${after}`)
        if (before !== after) changes++
        owners.set(record.key, after)
      }
      const held = [...owners.values()].filter((owner) => owner !== '')
      if (new Set(held).size !== held.length) violations.push(`revision ${revision}: an owner has two VFs: ${held.sort().join(' ')}`)
    },
  })
  await watching.ready
  return {
    violations,
    get changes() {
      return changes
    },
    close: () => watching.close(),
  }
}
