/**
 * Small reads below one root, on libuv's pool but never on more than two of its four threads: some of sysfs' files wait for the
 * RTNL lock (`carrier`, `phys_switch_id`), and creating VFs holds that for seconds.
 */
import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { errnoOf, refused } from './failures.ts'

const mostReads = 2
/** The device or the netdev is not there, or not any more. */
const gone = new Set(['ENOENT', 'ENODEV', 'ENOTDIR', 'ENXIO'])
/** The file is there for every device but this one has no such value: a carrier while the link is down, a switch id without a switch. */
const noValue = new Set(['EINVAL', 'EOPNOTSUPP', 'ENOTSUPP'])

export class Tree {
  readonly root: string
  #free = mostReads
  readonly #waiting: (() => void)[] = []

  constructor(root: string) {
    this.root = root
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
  text(path: string): Promise<string | undefined> {
    return this.#read(path, async () => (await readFile(path, 'utf8')).trim())
  }

  async number(path: string): Promise<number | undefined> {
    const text = await this.text(path)
    return text === undefined || text === '' ? undefined : Number(text)
  }

  /** Names in a folder; none when there is no such folder. */
  async names(path: string): Promise<readonly string[]> {
    return (await this.#read(path, () => readdir(path))) ?? []
  }

  /** Last part of what a link points to; empty when there is no such link. */
  async target(path: string): Promise<string> {
    return (await this.#read(path, async () => basename(await readlink(path)))) ?? ''
  }

  /** Of what the path leads to, as whole: kernfs counts in 64 bits. */
  inode(path: string): Promise<bigint | undefined> {
    return this.#read(path, async () => (await stat(path, { bigint: true })).ino)
  }

  async exists(path: string): Promise<boolean> {
    return (await this.#read(path, () => lstat(path))) !== undefined
  }

  async #read<T>(path: string, read: () => Promise<T>): Promise<T | undefined> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await read()
    } catch (error) {
      const errno = errnoOf(error)
      if (gone.has(errno) || noValue.has(errno)) return undefined
      throw refused(error, `reading ${path}`, { path })
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free++
      else next()
    }
  }
}
