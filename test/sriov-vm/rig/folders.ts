/** Where the rig keeps what it fetched and made; all of it can be deleted and comes back. */
import { join, resolve } from 'node:path'

export const repository = resolve(import.meta.dirname, '../../..')
export const cache = join(repository, '.tools/sriov-vm')

export const folders = {
  /** QEMU and the libraries of it that the machine lacks. */
  qemu: join(cache, 'qemu'),
  /** Package of the guest's kernel, and a static busybox. */
  guest: join(cache, 'guest'),
  /** Heddle's bundle and the programs of the tests, as every guest sees them below /proj. */
  project: join(cache, 'proj'),
  vmlinux: join(cache, 'vmlinux'),
  initramfs: join(cache, 'initramfs.gz'),
  busybox: join(cache, 'guest/bin/busybox'),
  /** Node of the workspace: /node in a guest. */
  node: resolve(process.execPath, '../..'),
  /** What V8 compiled in earlier guests: a start of Heddle costs half with it. */
  compiled: join(cache, 'compiled'),
}
