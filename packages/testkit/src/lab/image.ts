/**
 * A container image that holds a static busybox and nothing else, in the form `docker save` writes (Docker Image
 * Specification v1.2, "Combined Image JSON + Filesystem Changeset Format"), which Docker and containerd both load.
 */
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, run } from './shell.ts'

const applets = ['sh', 'cat', 'echo', 'hostname', 'httpd', 'ip', 'kill', 'ls', 'mkdir', 'nc', 'ping', 'ping6', 'ps', 'rm', 'sleep', 'wget']

export interface LabImage {
  /** `docker.io/heddle/lab:1`: ctr wants it whole, Docker accepts it so. */
  readonly reference: string
  /** Path of the tar archive. */
  readonly archive: string
}

export interface ImageOptions {
  /** Default `lab`. */
  readonly name?: string
  /** What a container of it runs unless it is told; default a shell. */
  readonly command?: readonly string[]
}

export async function buildImage(dir: string, { name = 'lab', command = ['/bin/sh'] }: ImageOptions = {}): Promise<LabImage> {
  const reference = `docker.io/heddle/${name}:1`
  const work = join(dir, `image-${name}`)
  const root = join(work, 'rootfs')
  for (const path of ['bin', 'dev', 'etc', 'proc', 'run', 'sys', 'tmp', 'www']) mkdirSync(join(root, path), { recursive: true })
  const busybox = (await run(['sh', '-c', 'command -v busybox'])).trim()
  copyFileSync(busybox, join(root, 'bin/busybox'))
  for (const applet of applets) symlinkSync('busybox', join(root, 'bin', applet))
  const layer = join(work, 'layer.tar')
  await run(['tar', '-C', root, '--numeric-owner', '--owner=0', '--group=0', '--mtime=@0', '-cf', layer, '.'])
  const config = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: command, Env: ['PATH=/bin'], WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(readFileSync(layer)).digest('hex')}`] },
    history: [{ created_by: 'heddle laboratory' }],
  }
  writeFileSync(join(work, 'config.json'), JSON.stringify(config))
  writeFileSync(join(work, 'manifest.json'), JSON.stringify([{ Config: 'config.json', RepoTags: [reference], Layers: ['layer.tar'] }]))
  const archive = join(dir, `image-${name}.tar`)
  await run(['tar', '-C', work, '-cf', archive, 'manifest.json', 'config.json', 'layer.tar'])
  rmSync(work, { recursive: true })
  return { reference, archive }
}

/** Why containers cannot be run on this machine, or undefined when they can be. */
export async function whyNoContainers(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'not root'
  for (const program of ['busybox', 'nsenter', 'unshare', 'runc', 'tar', 'dockerd', 'docker', 'containerd', 'ctr']) {
    if ((await attempt(['sh', '-c', `command -v ${program}`])).code !== 0) return `${program} is not installed`
  }
  const mounts = await attempt(['unshare', '--mount', '--net', '--propagation', 'private', 'mount', '-t', 'tmpfs', 'none', '/run'])
  if (mounts.code !== 0) return `no mounts and namespaces of one's own: ${mounts.stderr.trim()}`
  return undefined
}
