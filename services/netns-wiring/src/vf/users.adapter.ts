/** Who uses a VF, or is about to rename its netdev, where only files tell. */
import { existsSync, readFileSync } from 'node:fs'
import { readdir, readlink } from 'node:fs/promises'
import type { LinkInfo } from '@heddle/kernel'

/** The first process that has the device node of an IOMMU group open, in words; empty: none. Slow: only for VFs bound to a user-space driver. */
export async function vfioUser(iommuGroup: string): Promise<string> {
  if (iommuGroup === '') return ''
  const node = `/dev/vfio/${iommuGroup}`
  for (const pid of await readdir('/proc').catch((): string[] => [])) {
    if (!/^\d+$/.test(pid)) continue
    const files = await readdir(`/proc/${pid}/fd`).catch((): string[] => [])
    for (const file of files) {
      if ((await readlink(`/proc/${pid}/fd/${file}`).catch(() => '')) === node) return `process ${pid} has ${node} open`
    }
  }
  return ''
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
