/** A real dockerd in a guest, with an image `busybox` that holds nothing else. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Guest } from './guest.ts'
import { eventually } from './host.ts'

/** Each process of Docker's takes an emulated processor seconds. */
const most = { timeoutMs: 180_000 }

/** Answers the docker client: standard output of a command. */
export async function startDockerd(guest: Guest): Promise<(command: string) => Promise<string>> {
  const log = join(guest.out, 'dockerd.log')
  // A root in memory cannot be pivoted: DOCKER_RAMDISK has runc move the mount instead.
  await guest.run(`mkdir -p /var/lib/docker
mount -t tmpfs docker /var/lib/docker
DOCKER_RAMDISK=true setsid dockerd --bridge none --iptables=false --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs </dev/null >/out/dockerd.log 2>&1 &`)
  const read = () => (existsSync(log) ? readFileSync(log, 'utf8') : '')
  await eventually('dockerd listens', () => read().includes('API listen on'), read)
  await guest.run(
    `mkdir -p /run/root/bin
cp /rig/busybox /run/root/bin
for applet in top ping ip; do ln -s busybox /run/root/bin/$applet; done
tar -C /run/root -c . | docker import - busybox`,
    most,
  )
  return async (command) => (await guest.run(`docker ${command}`, most)).trim()
}
