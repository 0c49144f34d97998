/** Socket files in the kubelet's directory. */
import { createHash } from 'node:crypto'
import { lstatSync } from 'node:fs'

/** Another text when the file is another one; undefined when there is none. */
export function identityOf(path: string): string | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}:${stat.ctimeNs}`
}

/** The path of a unix socket has room for 107 bytes, and the kubelet's directory takes 33 of them. */
const maxNameBytes = 60

/** Name of a resource's socket: its own where there is room, else its beginning and a digest. */
export function socketNameOf(resource: string): string {
  const name = resource.replaceAll('/', '_')
  const digest = () => createHash('sha256').update(resource).digest('hex').slice(0, 12)
  return `heddle-${name.length <= maxNameBytes ? name : `${name.slice(0, maxNameBytes - 13)}-${digest()}`}.sock`
}
