/**
 * A small Linux machine in QEMU with an emulated SR-IOV card (igb, an Intel 82576 with 7 VFs at 0000:01:00), whose port is on a wire that
 * leads nowhere or to another guest. Beside it a control link, which reaches this machine's loopback only: commands come in by a
 * forwarded port, and one port, NATS, goes out. Its /usr is this machine's, read-only.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type LabScope, type Program, type RunResult, startProgram } from '@heddle/testkit'
import { folders } from './folders.ts'

export interface GuestOptions {
  readonly name: string
  /** Its files; made when missing. What the guest writes below /out is in `out` there. */
  readonly dir: string
  /** Port of NATS on this machine's loopback; the guest finds it at `guestNats`. */
  readonly natsPort?: number
  /** Wire between two guests: a unix socket that the first makes and the second connects to. */
  readonly wire?: { readonly path: string; readonly end: 'first' | 'second' }
}

/** NATS as a guest sees it. */
export const guestNats = 'nats://10.0.2.100:4222'
/** PCI address of the card's port in a guest. */
export const pf = '0000:01:00.0'

export interface CommandOptions {
  /** Default 60 s; an emulated processor is 12 to 18 times slower than the real one. */
  readonly timeoutMs?: number
}

export interface Guest {
  readonly name: string
  readonly out: string
  /** A bash script in the guest; resolves whatever its exit code. Several at once. */
  attempt(script: string, options?: CommandOptions): Promise<RunResult>
  /** The same; answers its standard output, rejects when its exit code is not 0. */
  run(script: string, options?: CommandOptions): Promise<string>
  /** As if the power failed. */
  powerOff(): Promise<void>
}

/** Resolves when commands can be run in it. Ends with the scope, and with this process however that ends. */
export async function startGuest(scope: LabScope, options: GuestOptions): Promise<Guest> {
  const { name, dir } = options
  const out = join(dir, 'out')
  mkdirSync(out, { recursive: true })
  // Of its own: a bundle made meanwhile replaces the folder.
  const project = join(dir, 'proj')
  cpSync(folders.project, project, { recursive: true })
  const console = join(dir, 'console.log')
  const port = await freePort()
  while (options.wire?.end === 'second' && !existsSync(options.wire.path)) await delay(50)
  const library = (path: string) => join(folders.qemu, path)
  const program = await startProgram(scope, {
    name: `guest ${name}`,
    command: [
      ...['nice', '-n', '5', library('usr/bin/qemu-system-x86_64')],
      ...['-L', library('usr/share/qemu'), '-L', library('usr/share/seabios')],
      ...machine(kernelRelease(), { console, out, project }),
      ...card(options),
      ...controlLink(port, options.natsPort),
    ],
    logPath: join(dir, 'qemu.log'),
    env: { LD_LIBRARY_PATH: ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'].map(library).join(':') },
    ready: async (running) => existsSync(console) && readFileSync(console, 'utf8').includes('GUEST-READY') && (await answers(running, port)),
    readyTimeoutMs: 120_000,
    undo: (running) => running.kill('SIGKILL'),
  })
  const attempt = (script: string, { timeoutMs = 60_000 }: CommandOptions = {}) => command(program, port, script, timeoutMs)
  return {
    name,
    out,
    attempt,
    async run(script, more) {
      const { code, stdout, stderr } = await attempt(script, more)
      if (code !== 0) throw new Error(`${name}: exit code ${code} of\n${script}\n${stdout}${stderr}`.trimEnd())
      return stdout
    },
    powerOff: () => program.kill('SIGKILL'),
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

function kernelRelease(): string {
  const folder = join(folders.guest, 'lib/modules')
  const [release] = existsSync(folder) ? readdirSync(folder) : []
  if (release === undefined || !existsSync(folders.initramfs)) throw new Error('the guests are not made yet: npm run test:sriov-vm')
  return release
}

function machine(kernel: string, { console, out, project }: { readonly console: string; readonly out: string; readonly project: string }): string[] {
  const share = (tag: string, path: string, mode = ',readonly=on') => [
    '-virtfs',
    `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap${mode}`,
  ]
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    // The processor of this machine itself seldom can be used inside a virtual machine: it is emulated, all of it, always.
    ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '1536'],
    // vfio-pci binds no device without one.
    ...['-device', 'intel-iommu'],
    ...['-kernel', folders.vmlinux, '-initrd', folders.initramfs],
    ...['-append', 'console=ttyS0 quiet loglevel=4 panic=-1 intel_iommu=on mitigations=off'],
    ...['-serial', `file:${console}`],
    ...share('usr', '/usr'),
    ...share('modules', join(folders.guest, 'lib/modules', kernel)),
    ...share('proj', project),
    ...share('node', folders.node),
    ...share('out', out, ''),
    ...share('compiled', folders.compiled, ''),
  ]
}

function card({ name, wire }: GuestOptions): string[] {
  const mac = `52:54:00:82:57:6${wire?.end === 'second' ? 1 : 0}`
  const end = wire === undefined ? 'hubport,hubid=0' : `stream,server=${wire.end === 'first' ? 'on' : 'off'},addr.type=unix,addr.path=${wire.path}`
  if (wire !== undefined && wire.path.length > 107) throw new Error(`${name}: ${wire.path} is too long for a unix socket`)
  return [...['-netdev', `${end},id=wire`], ...['-device', 'pcie-root-port,id=cardslot,chassis=1,slot=1', '-device', `igb,bus=cardslot,netdev=wire,mac=${mac}`]]
}

/** `restrict`: nothing but what is forwarded; a busybox carries each connection to NATS, for QEMU's own forwarding takes one only. */
function controlLink(port: number, natsPort: number | undefined): string[] {
  const nats = natsPort === undefined ? '' : `,guestfwd=tcp:10.0.2.100:4222-cmd:${folders.busybox} nc 127.0.0.1 ${natsPort}`
  return ['-netdev', `user,id=control,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:${port}-:9000${nats}`, '-device', 'virtio-net-pci,netdev=control,romfile=']
}

/** The link refuses until something listens in the guest. */
async function answers(program: Program, port: number): Promise<boolean> {
  return await command(program, port, 'true', 5_000).then(
    () => true,
    () => false,
  )
}

/** A connection that was cut is made anew, under the same name: the guest runs a command of one name once. */
async function command(program: Program, port: number, script: string, timeoutMs: number): Promise<RunResult> {
  const request = `${randomUUID()} ${Buffer.byteLength(script)}\n${script}`
  const limit = AbortSignal.timeout(timeoutMs)
  for (;;) {
    try {
      return await exchange(port, request, limit)
    } catch (error) {
      const why = limit.aborted ? `no answer within ${timeoutMs} ms` : (error as Error).message
      if (limit.aborted || !program.running) throw new Error(`${why} of\n${script}\n${program.running ? '' : program.log()}`)
      await delay(100)
    }
  }
}

/** The answer: `<code> <bytes of stdout> <bytes of stderr>\n` and both. */
async function exchange(port: number, request: string, signal: AbortSignal): Promise<RunResult> {
  const socket = connect({ host: '127.0.0.1', port, signal })
  const chunks: Buffer[] = []
  socket.write(request)
  for await (const chunk of socket) chunks.push(chunk)
  const all = Buffer.concat(chunks)
  const [code, stdout, stderr] = all.subarray(0, all.indexOf(10)).toString().split(' ').map(Number)
  const body = all.subarray(all.indexOf(10) + 1)
  if (code === undefined || stdout === undefined || body.length !== stdout + (stderr ?? 0)) throw new Error(`cut after ${all.length} bytes`)
  return { code, stdout: body.subarray(0, stdout).toString(), stderr: body.subarray(stdout).toString() }
}
