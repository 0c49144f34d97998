/**
 * Which history revisions belong to: the cluster id and the value of one key. Whoever sees that etcd went back to an older
 * history (a backup was restored, a data directory replaced) gives the key a new value, and all watchers follow it.
 */
import { type Call, randomId } from '@heddle/core'
import { attemptMs, untilReply } from './attempts.ts'
import { type EtcdPort, reasonOf } from './port.ts'
import type { Committed, StoredRecord, Transaction } from './types.ts'

export const epochKey = 'heddle/store/epoch'

export interface EpochPort {
  readonly range: EtcdPort['range']
  readonly commit: (transaction: Transaction, call: Call) => Promise<Committed>
}

export interface Epoch {
  readonly clusterId: string
  /** Value of the key. */
  readonly generation: string
}

export function epochText(epoch: Epoch): string {
  return `${epoch.clusterId}.${epoch.generation}`
}

/** Makes sure that there is one. */
export async function ensureEpoch(port: EpochPort, call: Call): Promise<void> {
  const { records } = await untilReply(call, () => port.range({ key: epochKey }, attemptMs(call)))
  if (records.length > 0) return
  await port.commit({ when: [{ key: epochKey, is: 'absent' }], write: [{ put: epochKey, value: randomId() }] }, call)
}

/** As it was at a revision; undefined when there was none. */
export async function epochAt(port: Pick<EtcdPort, 'range'>, revision: bigint, call: Call): Promise<Epoch | undefined> {
  const { clusterId, records } = await untilReply(call, () => port.range({ key: epochKey, revision }, attemptMs(call)))
  const generation = records[0]?.value
  return generation === undefined ? undefined : { clusterId, generation }
}

/** Ends an epoch, unless somebody else already has. */
export async function endEpoch(port: EpochPort, epoch: Epoch, call: Call): Promise<void> {
  await port.commit({ when: [{ key: epochKey, is: 'valued', value: epoch.generation }], write: [{ put: epochKey, value: randomId() }] }, call)
}

/** What a watcher remembers of the history it follows. */
export interface Remembered {
  readonly epoch: Epoch
  readonly revision: bigint
  /** The latest record it has seen. */
  readonly witness: StoredRecord | undefined
}

/** Whether etcd still tells the history we remember; `unknown` when what we remember has been compacted. */
export async function compareHistory(port: Pick<EtcdPort, 'range'>, remembered: Remembered, call: Call): Promise<'same' | 'other' | 'unknown'> {
  const { epoch, revision, witness } = remembered
  const now = await untilReply(call, () => port.range({ key: witness?.key ?? epochKey }, attemptMs(call)))
  if (now.clusterId !== epoch.clusterId || now.revision < revision) return 'other'
  if (witness === undefined || isSame(now.records[0], witness)) return 'same'
  try {
    const then = await untilReply(call, () => port.range({ key: witness.key, revision: witness.modRevision }, attemptMs(call)))
    return isSame(then.records[0], witness) ? 'same' : 'other'
  } catch (error) {
    if (reasonOf(error) === 'compacted') return 'unknown'
    throw error
  }
}

function isSame(record: StoredRecord | undefined, witness: StoredRecord): boolean {
  return record?.modRevision === witness.modRevision && record.value === witness.value
}
