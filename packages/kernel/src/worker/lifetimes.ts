/** Makes and ends namespaces that have a name: an nsfs file bound to a path, as iproute2 does it. */
import { closeSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isNamespaceFile } from '../nsfs.ts'
import { SystemCallFailure } from './failures.ts'
import * as libc from './libc.ts'
import type { Namespaces } from './namespaces.ts'
import type { Watches } from './watches.ts'

/** False when a live namespace was there. A file left without its namespace is used again. */
export function createNamespace(namespaces: Namespaces, path: string): boolean {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  if (isNamespaceFile(path)) return false
  closeSync(openSync(path, 'a', 0o444))
  namespaces.make(() => libc.bindMount('/proc/thread-self/ns/net', path))
  return true
}

export function deleteNamespace(namespaces: Namespaces, watches: Watches, path: string): void {
  // Open sockets would keep it, and its links, alive.
  namespaces.forget(path)
  const inode = statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
  if (inode !== undefined) watches.forget(inode)
  try {
    libc.unmount(path)
  } catch (error) {
    // Not mounted, or not there: what is wanted.
    if (!(error instanceof SystemCallFailure) || !['EINVAL', 'ENOENT'].includes(error.errno)) throw error
  }
  rmSync(path, { force: true })
}
