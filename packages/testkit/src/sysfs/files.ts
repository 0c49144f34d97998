/** Files and links of the made-up tree, in the layout of /sys. Whatever appears, changes or goes does so whole, as sysfs' readers are used to. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'

const homes = new Set<string>()
process.once('exit', () => {
  for (const home of homes) rmSync(home, { recursive: true, force: true })
})

export class Files {
  readonly #home = mkdtempSync(join(tmpdir(), `hdsys-${process.pid}-`))
  readonly root = join(this.#home, 'sys')
  readonly bootIdPath = join(this.#home, 'boot_id')
  readonly #aside = join(this.#home, 'aside')
  #asides = 0

  constructor() {
    homes.add(this.#home)
    mkdirSync(this.root)
    mkdirSync(this.#aside)
  }

  remove(): void {
    homes.delete(this.#home)
    rmSync(this.#home, { recursive: true, force: true })
  }

  /** Paths are below the root, here and in what follows. */
  path(...parts: readonly string[]): string {
    return join(this.root, ...parts)
  }

  put(path: string, text: string): void {
    const draft = this.#newAside()
    writeFileSync(draft, `${text}\n`)
    this.#place(draft, path)
  }

  /** A folder with files, and links to other places of the tree. */
  add(path: string, files: Readonly<Record<string, string | number>>, links: Readonly<Record<string, string>> = {}): void {
    const draft = this.#newAside()
    mkdirSync(draft)
    for (const [name, value] of Object.entries(files)) writeFileSync(join(draft, name), `${value}\n`)
    for (const [name, target] of Object.entries(links)) symlinkSync(this.#toward(path, target), join(draft, name))
    this.#place(draft, path)
  }

  folder(path: string): void {
    mkdirSync(this.path(path), { recursive: true })
  }

  link(path: string, target: string): void {
    mkdirSync(dirname(this.path(path)), { recursive: true })
    symlinkSync(this.#toward(dirname(path), target), this.path(path))
  }

  move(path: string, to: string): void {
    renameSync(this.path(path), this.path(to))
  }

  delete(path: string): void {
    rmSync(this.path(path), { recursive: true, force: true })
  }

  /** Set aside rather than deleted: another folder would be given its inode, which sysfs never does. */
  bury(path: string): void {
    renameSync(this.path(path), this.#newAside())
  }

  /** Ends in the name of what it leads to, as links of sysfs do: readers take that for an address. */
  #toward(folder: string, target: string): string {
    return join(relative(this.path(folder), this.path(dirname(target))), basename(target))
  }

  #newAside(): string {
    return join(this.#aside, String(this.#asides++))
  }

  #place(draft: string, path: string): void {
    mkdirSync(dirname(this.path(path)), { recursive: true })
    renameSync(draft, this.path(path))
  }
}
