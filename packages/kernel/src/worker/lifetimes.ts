/** Makes and ends namespaces that have a name: an nsfs file bound to a path, as iproute2 does it. */
import { closeSync, mkdirSync, openSync, rmSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { SystemCallFailure } from './failures.ts'
import * as libc from './libc.ts'
import type { Namespaces } from './namespaces.ts'

const NSFS_MAGIC = 0x6e736673

/** False when a live namespace was there. A file left without its namespace is used again. */
export function createNamespace(namespaces: Namespaces, path: string): boolean {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  closeSync(openSync(path, 'a', 0o444))
  if (statfsSync(path).type === NSFS_MAGIC) return false
  namespaces.make(() => libc.bindMount('/proc/thread-self/ns/net', path))
  return true
}

export function deleteNamespace(namespaces: Namespaces, path: string): void {
  namespaces.forget(path)
  try {
    libc.unmount(path)
  } catch (error) {
    // Not mounted, or not there: what is wanted.
    if (!(error instanceof SystemCallFailure) || !['EINVAL', 'ENOENT'].includes(error.errno)) throw error
  }
  rmSync(path, { force: true })
}
