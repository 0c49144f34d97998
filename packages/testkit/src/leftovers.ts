/**
 * What a test, a demo or a benchmark that was killed has left behind, by names that begin with `hd`, letters, and the
 * process id of who made it: network namespaces, and the directories of laboratories with the mounts in them and the
 * processes that outlive an engine on purpose (containerd's shims and their containers).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const namespaceFolder = '/run/netns'

/** Others may be removing the same. */
export function removeLeftovers(): void {
  mkdirSync(namespaceFolder, { recursive: true })
  for (const directory of orphansIn(tmpdir())) {
    killProcessesOf(directory)
    for (const path of mountsBelow(directory)) tryTo('umount', '--lazy', path)
    tryTo('rm', '-rf', '--one-file-system', directory)
  }
  for (const path of orphansIn(namespaceFolder)) tryTo('ip', 'netns', 'delete', path.slice(namespaceFolder.length + 1))
}

function orphansIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => {
      const pid = /^hd[a-z]+-?(\d+)-/.exec(name)?.[1]
      return pid !== undefined && !existsSync(`/proc/${pid}`)
    })
    .map((name) => join(folder, name))
}

/** Those that name the directory, and those of engines with mounts of their own in which it appears. */
function killProcessesOf(directory: string): void {
  const own = readlinkSync('/proc/self/ns/mnt')
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const read = (file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8')
      const inside = read('cmdline').includes(`${directory}/`) || (readlinkSync(`/proc/${pid}/ns/mnt`) !== own && read('mountinfo').includes(`${directory}/`))
      if (inside && Number(pid) !== process.pid) process.kill(Number(pid), 'SIGKILL')
    } catch {
      // It ended meanwhile.
    }
  }
}

/** Innermost first. */
function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${directory}/`))
    .reverse()
}

/** What cannot be removed is no reason for a new test to fail, and may go with the next. */
function tryTo(...command: readonly [string, ...string[]]): void {
  spawnSync(command[0], command.slice(1), { stdio: 'ignore' })
}
