/**
 * The packages the guests are made of, fetched with an apt configuration of their own (lists, cache, sources) and unpacked
 * with dpkg -x: nothing is installed, and apt's state on the machine is only read.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, run } from '@heddle/testkit'
import { cache, folders } from './folders.ts'
import { Unavailable } from './unavailable.ts'

/** QEMU 8.0 is the first with an igb card; Debian 12's own is older. */
const needsBackports = ['bookworm']
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
/** Changes when what is fetched or how it is unpacked does. */
const recipe = '1'

/** Release of the guests' kernel, `6.1.0-50-amd64`. Fetches when it has to; fails with Unavailable. */
export async function fetchPackages(say: (line: string) => void): Promise<string> {
  const stamp = join(cache, 'packages.stamp')
  const [made, release] = existsSync(stamp) ? readFileSync(stamp, 'utf8').trim().split(' ') : []
  if (made === recipe && release !== undefined && existsSync(folders.vmlinux)) return release
  rmSync(cache, { recursive: true, force: true })
  mkdirSync(cache, { recursive: true })
  const apt = await privateApt()
  try {
    const needed = (await apt.get('install', '--simulate', 'qemu-system-x86')).matchAll(/^Inst (\S+)/gm)
    const image = /Depends: (linux-image-\S+)/.exec(await apt.cache('depends', `linux-image-amd64/${apt.suite}`))?.[1]
    if (image === undefined) throw new Unavailable(`the archive names no kernel for ${apt.suite}`)
    say('fetching an emulator and a kernel for the guests (about 85 MB)')
    await unpack(
      apt,
      folders.qemu,
      [...needed].map((match) => match[1] as string),
    )
    await unpack(apt, folders.guest, [image, 'busybox-static'])
    const kernel = image.slice('linux-image-'.length)
    await run([folders.busybox, 'depmod', '-b', folders.guest, kernel])
    await unpackKernel(join(folders.guest, 'boot', `vmlinuz-${kernel}`))
    writeFileSync(stamp, `${recipe} ${kernel}\n`)
    return kernel
  } finally {
    rmSync(apt.dir, { recursive: true, force: true })
  }
}

interface Apt {
  readonly dir: string
  readonly suite: string
  get(...args: string[]): Promise<string>
  cache(...args: string[]): Promise<string>
  download(into: string, packages: readonly string[]): Promise<void>
}

async function privateApt(): Promise<Apt> {
  const dir = mkdtempSync(join(cache, 'apt-'))
  const targets = await run(['apt-get', 'indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages'])
  // The archive this machine is set to, and its main suite: security and updates have a dash in their names.
  const [uri, suite] =
    targets
      .split('\n')
      .map((line) => line.split(' '))
      .find(([, name]) => name !== undefined && !name.includes('-')) ?? []
  if (uri === undefined || suite === undefined) throw new Unavailable('apt of this machine is set to no Debian archive')
  const backports = needsBackports.includes(suite) ? `${suite}-backports` : undefined
  const suites = [suite, `${suite}-updates`, ...(backports === undefined ? [] : [backports])]
  for (const folder of ['lists/partial', 'cache/archives/partial', 'sources']) mkdirSync(join(dir, folder), { recursive: true })
  writeFileSync(
    join(dir, 'sources/guests.sources'),
    suites.map((name) => `Types: deb\nURIs: ${uri}\nSuites: ${name}\nComponents: main\nSigned-By: ${keyring}\n`).join('\n'),
  )
  writeFileSync(
    join(dir, 'apt.conf'),
    `Dir::State "${dir}";
Dir::State::Lists "${dir}/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "${dir}/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "${dir}/sources";
Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Retries "3";
`,
  )
  const env = { APT_CONFIG: join(dir, 'apt.conf'), LC_ALL: 'C' }
  const release = backports === undefined ? [] : ['--target-release', backports]
  const checked = async (command: readonly string[]) => {
    const { code, stdout, stderr } = await attempt(command, { env, timeoutMs: 300_000 })
    if (code !== 0) throw new Unavailable(`${command.slice(0, 2).join(' ')}: ${lastLine(stderr)}`)
    return stdout
  }
  await checked(['apt-get', 'update', '--quiet', '--error-on=any'])
  return {
    dir,
    suite,
    get: (...args) => checked(['apt-get', ...release, ...args]),
    cache: (...args) => checked(['apt-cache', ...args]),
    download: async (into, packages) => {
      await checked(['sh', '-c', 'cd "$1" && shift && exec apt-get download --quiet "$@"', 'sh', into, ...release, ...packages])
    },
  }
}

async function unpack(apt: Apt, into: string, packages: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(apt.dir, 'deb-'))
  await apt.download(folder, packages)
  mkdirSync(into, { recursive: true })
  for (const file of readdirSync(folder)) await run(['dpkg', '-x', join(folder, file), into])
}

/**
 * The kernel comes packed, which takes an emulated processor four seconds to undo at each start; QEMU starts the ELF file in it
 * as well, by its PVH entry point.
 */
async function unpackKernel(packed: string): Promise<void> {
  const image = readFileSync(packed)
  const xz = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])
  const part = join(cache, 'vmlinux.xz')
  writeFileSync(part, image.subarray(Math.max(0, image.indexOf(xz))))
  // What follows the archive in the image makes xz complain.
  await attempt(['sh', '-c', 'xz --decompress --stdout --single-stream "$1" >"$2"', 'sh', part, `${part}.elf`])
  rmSync(part)
  if (readFileSync(`${part}.elf`).subarray(1, 4).toString() !== 'ELF') throw new Unavailable('the kernel of the archive is packed in an unknown way')
  renameSync(`${part}.elf`, folders.vmlinux)
  rmSync(join(folders.guest, 'boot'), { recursive: true })
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
