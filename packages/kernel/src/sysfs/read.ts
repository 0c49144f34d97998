/**
 * Small reads below one root. Names, links and most files are answered from memory at once, and read so: on libuv's pool one would take
 * four turns and a hundred times as long. Reading the others may wait for a lock (RTNL: `carrier`, `phys_switch_id`; the device's own:
 * `driver_override`), which creating VFs holds for seconds: they are read on the pool, never on more than two of its four threads.
 */
import { closeSync, lstatSync, openSync, read, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { errnoOf, refused } from './failures.ts'

const mostReads = 2
/** The kernel prints them from what it has in memory (drivers/pci/pci-sysfs.c, net/core/net-sysfs.c). What is not named here may wait. */
const atOnce = new Set([
  'class',
  'vendor',
  'device',
  'numa_node',
  'address',
  'mtu',
  'operstate',
  'dev_port',
  'type',
  'sriov_totalvfs',
  'sriov_drivers_autoprobe',
  'boot_id',
])
/** sysfs shows no more of a file. */
const pageBytes = 4096
/** The device or the netdev is not there, or not any more. */
const gone = new Set(['ENOENT', 'ENODEV', 'ENOTDIR', 'ENXIO'])
/** The file is there for every device but this one has no such value: a carrier while the link is down, a switch id without a switch. */
const noValue = new Set(['EINVAL', 'EOPNOTSUPP', 'ENOTSUPP'])

const readPage = promisify(read)

export class Tree {
  readonly root: string
  readonly waits: boolean
  #free = mostReads
  readonly #waiting: (() => void)[] = []

  /** `waits` false: what may wait for a lock is as if it were not there. */
  constructor(root: string, waits = true) {
    this.root = root
    this.waits = waits
  }

  path(...parts: readonly string[]): string {
    return join(this.root, ...parts)
  }

  device(pci: string): string {
    return this.path('bus/pci/devices', pci)
  }

  driver(name: string): string {
    return this.path('bus/pci/drivers', name)
  }

  /** Content without the line's end; undefined when there is none. */
  async text(path: string): Promise<string | undefined> {
    if (atOnce.has(basename(path))) return known(path, () => readFileSync(path, 'utf8').trim())
    if (!this.waits) return undefined
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await readOnce(path)
    } catch (error) {
      return absent(error, path)
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free++
      else next()
    }
  }

  async number(path: string): Promise<number | undefined> {
    const text = await this.text(path)
    return text === undefined || text === '' ? undefined : Number(text)
  }

  /** Names in a folder; none when there is no such folder. */
  async names(path: string): Promise<readonly string[]> {
    return known(path, () => readdirSync(path)) ?? []
  }

  /** Last part of what a link points to; empty when there is no such link. */
  async target(path: string): Promise<string> {
    return known(path, () => basename(readlinkSync(path))) ?? ''
  }

  /** Of what the path leads to, as whole: kernfs counts in 64 bits. */
  async inode(path: string): Promise<bigint | undefined> {
    return known(path, () => statSync(path, { bigint: true }).ino)
  }

  async exists(path: string): Promise<boolean> {
    return known(path, () => lstatSync(path)) !== undefined
  }
}

function known<T>(path: string, look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    return absent(error, path)
  }
}

/** Opening waits for nothing; the one read that may is one turn on the pool. */
async function readOnce(path: string): Promise<string> {
  const fd = openSync(path, 'r')
  try {
    const { bytesRead, buffer } = await readPage(fd, Buffer.alloc(pageBytes), 0, pageBytes, 0)
    return buffer.toString('utf8', 0, bytesRead).trim()
  } finally {
    closeSync(fd)
  }
}

function absent(error: unknown, path: string): undefined {
  const errno = errnoOf(error)
  if (!gone.has(errno) && !noValue.has(errno)) throw refused(error, `reading ${path}`, { path })
}
