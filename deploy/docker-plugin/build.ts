/**
 * Makes what `docker plugin create NAME FOLDER` takes: config.json, and rootfs/ with Node, the bundle of Heddle, the tools that
 * the hands call and the libraries of all of them, taken from this machine. `node deploy/docker-plugin/build.ts [FOLDER]`
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, globSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'

const here = import.meta.dirname
const repository = resolve(here, '../..')
const folder = resolve(process.argv[2] ?? join(repository, 'dist/docker-plugin'))
const root = join(folder, 'rootfs')
/** Where busybox stands in: the tools that `start` and the hands call. */
const applets = ['cat', 'mkdir', 'mount', 'nsenter', 'sh']

rmSync(folder, { recursive: true, force: true })
for (const directory of ['dev', 'etc/heddle', 'host/run', 'proc', 'run/docker/plugins', 'run/propagated', 'sys', 'tmp', 'usr/bin', 'usr/sbin', 'var'])
  mkdirSync(join(root, directory), { recursive: true })
for (const [name, target] of Object.entries({ bin: 'usr/bin', sbin: 'usr/sbin', lib: 'usr/lib', lib64: 'usr/lib64', 'var/run': '../run' }))
  symlinkSync(target, join(root, name))

const bundle = join(root, 'usr/lib/heddle')
execFileSync(process.execPath, [join(repository, 'scripts/bundle.ts'), bundle], { stdio: ['ignore', 'ignore', 'inherit'] })
install(process.execPath, 'usr/bin/node')
for (const native of globSync('node_modules/@koromix/*/**/*.node', { cwd: bundle })) installLibraries(join(bundle, native))

copy(find('busybox'), 'usr/bin/busybox')
for (const applet of applets) symlinkSync('busybox', join(root, 'usr/bin', applet))
install(find('nft'), 'usr/sbin/nft')
// iptables, with whichever backend this machine uses; its matches and targets are loaded by name.
const xtables = install(find('iptables'), `usr/sbin/${basename(realpathSync(find('iptables')))}`)
for (const name of ['iptables', 'ip6tables']) symlinkSync(xtables, join(root, 'usr/sbin', name))
for (const library of globSync(['/usr/lib/*/xtables/libxt_standard.so', '/usr/lib/*/xtables/libxt_comment.so'])) copy(library, library)

copyFileSync(join(here, 'config.json'), join(folder, 'config.json'))
const flags = /^#!\/usr\/bin\/env -S .*?\bnode (.*)$/m.exec(readFileSync(join(bundle, 'heddle.js'), 'utf8'))?.[1] ?? ''
writeFileSync(join(bundle, 'start'), readFileSync(join(here, 'start'), 'utf8').replace('NODE_FLAGS', flags))
chmodSync(join(bundle, 'start'), 0o755)
process.stdout.write(`${folder}: docker plugin create heddle ${folder}\n`)

/** The file with the libraries it is linked with; answers its name. */
function install(file: string, target: string): string {
  copy(file, target)
  installLibraries(file)
  return basename(target)
}

/** As the dynamic loader (ld.so(8)) finds them here, at the same places there. */
function installLibraries(file: string): void {
  const listed = execFileSync('ldd', [file], { encoding: 'utf8' })
  for (const [, path = ''] of listed.matchAll(/(?:=>\s+|^\s+)(\/\S+) \(0x/gm)) copy(path, path.startsWith('/usr/') ? path : `/usr${path}`)
}

function copy(file: string, target: string): void {
  const path = join(root, target)
  if (existsSync(path)) return
  mkdirSync(dirname(path), { recursive: true })
  copyFileSync(realpathSync(file), path)
}

function find(program: string): string {
  const found = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'].map((place) => join(place, program)).find((path) => existsSync(path))
  if (found === undefined) throw new Error(`${program} is not installed, and the plugin needs it: apt-get install busybox-static nftables iptables`)
  return found
}
