/**
 * `node test/sriov-vm/rig/prepare.ts`: fetches and builds what the guests need. Ends with 75 (EX_TEMPFAIL, sysexits.h) and one line on
 * standard output, the reason, where guests cannot be had.
 */
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { run } from '@heddle/testkit'
import { cache, folders, repository } from './folders.ts'
import { buildInitramfs } from './initramfs.ts'
import { fetchPackages } from './packages.ts'
import { Unavailable } from './unavailable.ts'

/** Packages, unpacked, and a bundle. */
const neededBytes = 700 * 2 ** 20
/** sysexits.h */
const exitUnavailable = 75

try {
  await prepare()
} catch (error) {
  if (!(error instanceof Unavailable)) throw error
  process.stdout.write(`${error.message}\n`)
  process.exitCode = exitUnavailable
}

async function prepare(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Unavailable('not root')
  if (process.arch !== 'x64') throw new Unavailable(`the emulated card is on an x86_64 machine only, this is ${process.arch}`)
  if (!existsSync('/usr/bin/dpkg')) throw new Unavailable('no dpkg: the guests are made of Debian packages')
  mkdirSync(cache, { recursive: true })
  const { bavail, bsize } = statfsSync(cache)
  if (!existsSync(folders.vmlinux) && bavail * bsize < neededBytes) {
    throw new Unavailable(`${cache} has room for ${Math.floor((bavail * bsize) / 2 ** 20)} MiB, ${neededBytes / 2 ** 20} are needed`)
  }
  const kernel = await fetchPackages((line) => process.stderr.write(`heddle: ${line}\n`))
  const stamp = join(cache, 'initramfs.stamp')
  const recipe = hashOf(kernel, ...globSync(join(import.meta.dirname, '{init,serve}*')).sort())
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== recipe) {
    await buildInitramfs(kernel)
    writeFileSync(stamp, recipe)
  }
  mkdirSync(folders.compiled, { recursive: true })
  const programs = globSync('test/sriov-vm/guest/*.ts', { cwd: repository }).map((path) => `${basename(path, '.ts')}=${path}`)
  await run([process.execPath, 'scripts/bundle.ts', folders.project, ...programs])
}

function hashOf(kernel: string, ...paths: string[]): string {
  const hash = createHash('sha256').update(kernel)
  for (const path of paths) hash.update(readFileSync(path))
  return hash.digest('hex')
}
