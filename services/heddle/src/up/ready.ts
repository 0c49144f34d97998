/** Says that everything serves: one line on standard output, and sd_notify(3) when systemd waits for it. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { redactServer } from '@heddle/bus'
import type { RuntimeControl } from '@heddle/runtime'
import type { UpConfig } from './config.ts'

/** Which servers the process uses, for the ready line. */
export interface Servers {
  readonly nats: readonly string[]
  readonly etcd: readonly string[]
}

/** The line begins with `heddle is ready`; scripts may wait for it. Never rejects. */
export async function announceReady(control: RuntimeControl, config: UpConfig, servers: Servers, withinMs: number, pollMs: number): Promise<void> {
  const deadlineMs = control.clock.monotonicMs() + withinMs
  while (!control.health().ready && control.clock.monotonicMs() < deadlineMs && control.phase === 'running') {
    await new Promise<void>((resolve) => control.clock.after(pollMs, resolve))
  }
  if (control.phase !== 'running') return
  const { ready, checks } = control.health()
  if (!ready) {
    const failing = Object.entries(checks).flatMap(([name, { ok, message }]) => (ok ? [] : [`${name}: ${message}`]))
    control.logger.warn({ failing }, `started, and not ready within ${withinMs} ms; it goes on trying`)
    notify(`STATUS=not ready: ${failing.join('; ')}`, 'READY=1')
    return
  }
  const services = config.services.map((service) => service.name)
  const parts = [
    `host=${config.roof.host}`,
    `services=${services.join(',')}`,
    `nats=${servers.nats.map(redactServer).join(',')}`,
    ...(servers.etcd.length > 0 ? [`etcd=${servers.etcd.join(',')}`] : []),
    ...(services.includes('gateway') ? [`socket=${join(config.roof.runDir, 'heddle.sock')}`] : []),
  ]
  process.stdout.write(`heddle is ready ${parts.join(' ')}\n`)
  notify(`STATUS=${services.join(', ')}`, 'READY=1')
}

/** Node has no datagram sockets in the file system, which is what NOTIFY_SOCKET is. */
function notify(...state: readonly string[]): void {
  if (process.env['NOTIFY_SOCKET'] !== undefined) execFile('systemd-notify', [...state], () => {})
}
