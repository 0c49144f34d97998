/**
 * The initramfs of a guest: busybox, the modules that lead to the shared folders, and /init. Everything else (bash, ip, dockerd
 * and their libraries) is this machine's own /usr, which the guest sees read-only.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '@heddle/testkit'
import { cache, folders } from './folders.ts'

const modules = ['virtio_pci', '9pnet_virtio', '9p', 'virtio_net']
const directories = [
  'dev',
  'proc',
  'sys',
  'tmp',
  'run',
  'etc',
  'root',
  'usr',
  'var/lib',
  'var/tmp',
  'out',
  'proj',
  'node',
  'compiled',
  'opt/cni/bin',
  'lib',
  'rig',
]

export async function buildInitramfs(kernel: string): Promise<void> {
  const root = join(cache, 'initramfs')
  rmSync(root, { recursive: true, force: true })
  for (const directory of [...directories, `lib/modules/${kernel}`]) mkdirSync(join(root, directory), { recursive: true })
  copyFileSync(folders.busybox, join(root, 'rig/busybox'))
  for (const applet of (await run([folders.busybox, '--list'])).trim().split('\n')) {
    if (applet !== 'busybox') symlinkSync('busybox', join(root, 'rig', applet))
  }
  for (const [name, target] of Object.entries({ bin: 'usr/bin', sbin: 'usr/sbin', lib64: 'usr/lib64', 'var/run': '../run' })) {
    symlinkSync(target, join(root, name))
  }
  const etc = {
    passwd: 'root:x:0:0:root:/root:/bin/bash\n',
    group: 'root:x:0:\ndocker:x:999:\n',
    hosts: '127.0.0.1 localhost\n',
    'resolv.conf': '',
    'machine-id': `${'0'.repeat(32)}\n`,
  }
  // Without it every start of Node reads all of /usr/share/zoneinfo to learn what time zone this is: three seconds here.
  symlinkSync('/usr/share/zoneinfo/Etc/UTC', join(root, 'etc/localtime'))
  for (const [name, text] of Object.entries(etc)) writeFileSync(join(root, 'etc', name), text)
  // Which of several programs of one name the machine has chosen: iptables of nftables, for one.
  mkdirSync(join(root, 'etc/alternatives'))
  for (const name of existsSync('/etc/alternatives') ? readdirSync('/etc/alternatives') : []) {
    try {
      symlinkSync(readlinkSync(join('/etc/alternatives', name)), join(root, 'etc/alternatives', name))
    } catch {
      // A README among the links.
    }
  }
  copyModules(root, kernel)
  await run([folders.busybox, 'depmod', '-b', root, kernel])
  for (const [from, to] of [
    ['init.sh', 'init'],
    ['serve.sh', 'rig/serve'],
  ] as const) {
    writeFileSync(join(root, to), readFileSync(join(import.meta.dirname, from)), { mode: 0o755 })
  }
  await run(['sh', '-c', 'cd "$1" && find . | "$2" cpio -o -H newc 2>/dev/null | gzip -1 >"$3"', 'sh', root, folders.busybox, folders.initramfs])
  rmSync(root, { recursive: true })
}

/** With all they depend on: a line of modules.dep is `file: file file ...`. */
function copyModules(root: string, kernel: string): void {
  const from = join(folders.guest, 'lib/modules', kernel)
  const lines = readFileSync(join(from, 'modules.dep'), 'utf8').split('\n')
  for (const module of modules) {
    const line = lines.find((each) => each.split(':')[0]?.endsWith(`/${module}.ko`))
    for (const file of (line ?? '')
      .replace(':', '')
      .split(' ')
      .filter((word) => word !== '')) {
      const to = join(root, 'lib/modules', kernel, file)
      mkdirSync(dirname(to), { recursive: true })
      copyFileSync(join(from, file), to)
    }
  }
}
