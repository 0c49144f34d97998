/** Namespace files: /proc/<pid>/ns/net, or one bound to a path. */
import { statfsSync, statSync } from 'node:fs'

/** linux/magic.h */
const NSFS_MAGIC = 0x6e736673

/** Whether the path holds a live namespace, of whatever kind. */
export function isNamespaceFile(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC
  } catch {
    return false
  }
}

export function namespaceInode(path: string): bigint | undefined {
  return isNamespaceFile(path) ? statSync(path, { bigint: true, throwIfNoEntry: false })?.ino : undefined
}
