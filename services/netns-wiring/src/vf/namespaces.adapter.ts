/** Every network namespace that can be reached on this host: named ones, Docker's, and those of processes. Slow: only where a VF is sought. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

const folders = ['/run/netns', '/run/docker/netns']
const ownPath = '/proc/self/ns/net'

/** One path for each namespace but the process's own; those with a name first. */
export async function everyNamespace(): Promise<string[]> {
  const names = await Promise.all(folders.map(async (folder) => (await list(folder)).map((name) => join(folder, name))))
  const processes = (await list('/proc')).filter((name) => /^\d+$/.test(name)).map((pid) => `/proc/${pid}/ns/net`)
  const found = new Map<number, string>()
  const own = await inodeOf(ownPath)
  for (const path of [...names.flat(), ...processes]) {
    const inode = await inodeOf(path)
    if (inode !== undefined && inode !== own && !found.has(inode)) found.set(inode, path)
  }
  return [...found.values()]
}

async function list(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => [])
}

/** What ended meanwhile, or is no namespace any more, is no failure. */
async function inodeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.ino
}
