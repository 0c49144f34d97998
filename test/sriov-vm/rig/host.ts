/** A guest that is a host of a cluster: the gateway and the hands run in it, the brains, NATS and etcd on this machine. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type HeddleProcess, type LabScope, startHeddle } from '@heddle/testkit'
import { type Guest, type GuestOptions, guestNats, startGuest } from './guest.ts'

/** Brains and a door of their own on this machine, with nothing but the brains' commands; its command line sees every host. */
export function startControl(scope: LabScope, dir: string, config: Readonly<Record<string, unknown>> = {}): Promise<HeddleProcess> {
  return startHeddle(scope, { host: 'control', dir, services: ['brains', 'gateway'], config: { gateway: { api: { timeoutMs: slowMs } }, ...config } })
}

export interface HostOptions extends Omit<GuestOptions, 'natsPort'> {
  readonly control: HeddleProcess
  /** Default: both in one process. */
  readonly services?: readonly string[]
  /** VFs of the card; default 4. */
  readonly vfs?: number
}

export interface Host {
  readonly name: string
  readonly guest: Guest
  readonly heddle: Unit
}

/** One `heddle up` in a guest. */
export interface Unit {
  readonly pid: number
  log(): string
  /** kill -9 */
  kill(): Promise<void>
  stop(): Promise<void>
}

/** Resolves when its hands have told the allocator of the card and of as many ready VFs as were asked for. */
export async function startHost(scope: LabScope, options: HostOptions): Promise<Host> {
  const { control, name, vfs = 4 } = options
  const [server = ''] = control.nats
  const guest = await startGuest(scope, { ...options, natsPort: Number(new URL(server).port) })
  await guest.run('modprobe igb && modprobe igbvf && modprobe vfio-pci && modprobe 8021q && ip link set eth0 up')
  const heddle = await startUnit(guest, 'heddle', options.services ?? ['host'])
  await eventually(`the card of ${name} in the inventory`, async () => (await control.json(['pf', 'ls', '--host', name])).length === 1)
  if (vfs > 0) await setVfs(control, name, vfs)
  return { name, guest, heddle }
}

/** As long as any command of an emulated host may take. */
const slowMs = 60_000

export function setVfs(control: HeddleProcess, host: string, count: number, pf = 'eth0'): Promise<string> {
  return control.cli(['--timeout', String(slowMs), 'pf', 'set-vfs', pf, String(count), '--host', host])
}

let units = 0
/** `heddle up` in a guest as a service manager starts it; its log is on the shared folder, so it is read here. */
export async function startUnit(guest: Guest, unit: string, services: readonly string[]): Promise<Unit> {
  const name = `${unit}-${++units}`
  const config = { host: guest.name, services, nats: { servers: [guestNats] }, wiring: { vfReportMs: 2_000, vfRepairMs: 2_000 } }
  const pid = Number(
    await guest.run(`mkdir -p /run/heddle /run/docker/plugins
echo '${JSON.stringify(config)}' >/run/${name}.json
setsid env MALLOC_ARENA_MAX=1 node --max-semi-space-size=2 --max-old-space-size=512 /proj/heddle.js up --config /run/${name}.json </dev/null >/out/${name}.log 2>&1 &
echo $!`),
  )
  const path = join(guest.out, `${name}.log`)
  const log = () => (existsSync(path) ? readFileSync(path, 'utf8') : '')
  await eventually(`heddle is ready in ${guest.name}`, () => /^heddle is ready/m.test(log()), log)
  return {
    pid,
    log,
    kill: () => guest.run(`kill -9 ${pid}; while [ -d /proc/${pid} ]; do sleep 0.05; done`).then(() => {}),
    stop: () => guest.run(`kill ${pid}; while [ -d /proc/${pid} ]; do sleep 0.05; done`).then(() => {}),
  }
}

/** Polls until it holds; what comes after so long never comes. */
export async function eventually(what: string, holds: () => Promise<boolean> | boolean, more: () => string = () => ''): Promise<void> {
  const deadline = performance.now() + 60_000
  let last: unknown
  while (performance.now() < deadline) {
    try {
      if (await holds()) return
    } catch (error) {
      last = error
    }
    await delay(100)
  }
  throw new Error(`waited in vain: ${what}\n${more().slice(-4_096)}`, { cause: last })
}
