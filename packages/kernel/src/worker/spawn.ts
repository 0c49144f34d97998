/**
 * Runs a command in the namespace the thread is in, without waiting and without copying the process: posix_spawn shares
 * memory until exec (Node's own spawn forks on the main thread, slower the larger the process). Input and output are
 * memory files; the end is a readable pidfd.
 */

import { accessSync, constants, readFileSync } from 'node:fs'
import koffi from 'koffi'
import { SystemCallFailure } from './failures.ts'
import * as libc from './libc.ts'

const library = koffi.load(null)
const memfdCreate = library.func('int memfd_create(const char *, unsigned int)')
const write = library.func('long write(int, const void *, unsigned long)')
const lseek = library.func('long lseek(int, long, int)')
const actionsInit = library.func('int posix_spawn_file_actions_init(void *)')
const actionsDup = library.func('int posix_spawn_file_actions_adddup2(void *, int, int)')
const actionsDestroy = library.func('int posix_spawn_file_actions_destroy(void *)')
const spawn = library.func('int posix_spawn(_Out_ int *, const char *, void *, void *, const char **, const char **)')
const waitpid = library.func('int waitpid(int, _Out_ int *, int)')
const kill = library.func('int kill(int, int)')
const syscall = library.func('long syscall(long, int, int)')

const MFD_CLOEXEC = 1
const WNOHANG = 1
const SIGKILL = 9
/** The same number on every architecture. */
const SYS_pidfd_open = 434

export interface Child {
  /** Becomes readable when the child has ended. */
  readonly pidfd: number
  /** Exit code and what it printed; call once, when `pidfd` is readable. Closes everything. */
  finish(): { readonly code: number; readonly output: string }
  kill(): void
}

export function startChild(file: string, args: readonly string[], input: string): Child {
  const stdin = memoryFile('input')
  const output = memoryFile('output')
  const bytes = new TextEncoder().encode(input)
  libc.checked('write', write(stdin, bytes, bytes.length))
  lseek(stdin, 0, 0)
  // posix_spawn_file_actions_t is 80 bytes in glibc, less in musl.
  const actions = new Uint8Array(256)
  actionsInit(actions)
  for (const [from, to] of [
    [stdin, 0],
    [output, 1],
    [output, 2],
  ] as const) {
    actionsDup(actions, from, to)
  }
  const pid: [number] = [0]
  const failed = spawn(pid, file, actions, null, [file, ...args, null], ['LC_ALL=C', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', null])
  actionsDestroy(actions)
  libc.close(stdin)
  if (failed !== 0) {
    libc.close(output)
    throw new SystemCallFailure(`starting ${file}`, failed)
  }
  const pidfd = libc.remember(libc.checked('pidfd_open', Number(syscall(SYS_pidfd_open, pid[0], 0))))
  return {
    pidfd,
    finish() {
      const status: [number] = [0]
      waitpid(pid[0], status, WNOHANG)
      const text = readFileSync(`/proc/self/fd/${output}`, 'utf8')
      libc.close(output)
      libc.close(pidfd)
      const signal = status[0] & 0x7f
      return { code: signal === 0 ? (status[0] >> 8) & 0xff : 128 + signal, output: text }
    },
    kill: () => kill(pid[0], SIGKILL),
  }
}

/** Where a command is installed, undefined when nowhere usual. */
export function findCommand(name: string): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/bin', '/sbin', '/bin']) {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK)
      return `${folder}/${name}`
    } catch {
      // The next folder.
    }
  }
  return undefined
}

function memoryFile(name: string): number {
  return libc.remember(libc.checked('memfd_create', memfdCreate(name, MFD_CLOEXEC)))
}
