/** Who uses a VF, or is about to rename its netdev, where only files tell. */
import { existsSync, readFileSync } from 'node:fs'
import { readdir, readlink } from 'node:fs/promises'
import type { LinkInfo } from '@heddle/kernel'

/**
 * For each IOMMU group whose device node a process has open, the first such process, in words. Slow, as it looks at every open file of
 * the host once: only for VFs that are bound to a user-space driver and that nobody has claimed.
 */
export async function vfioUsers(iommuGroups: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  const users = new Map<string, string>()
  for (const pid of await readdir('/proc').catch((): string[] => [])) {
    if (users.size === iommuGroups.size) break
    if (!/^\d+$/.test(pid)) continue
    for (const file of await readdir(`/proc/${pid}/fd`).catch((): string[] => [])) {
      const node = await readlink(`/proc/${pid}/fd/${file}`).catch(() => '')
      const group = node.startsWith('/dev/vfio/') ? node.slice('/dev/vfio/'.length) : ''
      if (iommuGroups.has(group) && !users.has(group)) users.set(group, `process ${pid} has ${node} open`)
    }
  }
  return users
}

/** Whether udev has given the netdev its name; true where no udev runs (systemd writes a record of each device it has handled). */
export function udevIsDone({ index }: LinkInfo): boolean {
  if (!existsSync('/run/udev/control')) return true
  try {
    return /^I:/m.test(readFileSync(`/run/udev/data/n${index}`, 'utf8'))
  } catch {
    return false
  }
}
