/** `heddle doctor`: what this gateway can see, and what the hands of its host say of the kernel. */
import type { DiagnoseResponse, Finding } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import { probeSocket } from '../door.ts'
import { briefly } from '../flows/briefly.ts'
import type { FlowParts } from '../flows/parts.ts'

export interface DiagnoseParts extends FlowParts {
  readonly busStatus: () => string
  /** What listens where. */
  readonly sockets: readonly { readonly what: string; readonly path: string }[]
}

const timeoutMs = 2000

export async function diagnose(parts: DiagnoseParts, call: Call): Promise<DiagnoseResponse> {
  const { cluster } = parts
  const sockets = Promise.all(parts.sockets.map(socketFinding))
  const [inspected, ...brains] = await Promise.all([
    briefly(call, timeoutMs, (inner) => cluster.wiring.inspect({}, inner)).catch((error: unknown) => HeddleError.from(error)),
    asked('ipam (and etcd behind it)', () => briefly(call, timeoutMs, (inner) => cluster.ipam.listClaims({ owner: 'heddle-doctor' }, inner))),
    asked('networks', () => briefly(call, timeoutMs, (inner) => cluster.networks.listNetworks({}, inner))),
    asked('overlay', async () => {
      const { hosts } = await briefly(call, timeoutMs, (inner) => cluster.overlay.listHosts({}, inner))
      const own = hosts.find((host) => host.name === cluster.host)
      if (own?.alive !== true)
        throw new HeddleError('host-unknown', `host ${cluster.host} is ${own === undefined ? 'not registered' : 'not alive'} in the overlay`, {
          remedy: 'look at the log of netns-wiring on this host',
        })
    }),
    // Hosts without SR-IOV cards do without it.
    asked('vf-allocator', () => briefly(call, timeoutMs, (inner) => cluster.vfAllocator.listPfs({ host: cluster.host }, inner))).then((finding) =>
      finding.level === 'error' ? { ...finding, level: 'warning', message: `${finding.message} (networks of kind sriov need it)` } : finding,
    ),
  ])
  const wiring = HeddleError.is(inspected) ? [failed('netns-wiring', inspected)] : inspected.findings
  return {
    findings: [...(await sockets), busFinding(parts), ...brains, ...wiring],
    inventory: HeddleError.is(inspected) ? undefined : inspected.inventory,
  }
}

/** A socket's file can be removed from under its listener: whoever cleans /run does it. */
async function socketFinding({ what, path }: DiagnoseParts['sockets'][number]): Promise<Finding> {
  const subject = `socket ${what}`
  const state = await probeSocket(path)
  if (state === 'live') return ok(subject, path)
  const message = state === 'absent' ? `${path} is gone` : `nobody listens on ${path}`
  return { level: 'error', subject, message, remedy: 'restart the gateway, and see who removes or replaces files there' }
}

function busFinding(parts: DiagnoseParts): Finding {
  const status = parts.busStatus()
  if (status === 'connected') return ok('nats', 'connected')
  return { level: 'error', subject: 'nats', message: status, remedy: 'see that nats-server runs and that nats.servers is its address' }
}

async function asked(subject: string, ask: () => Promise<unknown>): Promise<Finding> {
  try {
    await ask()
    return ok(subject, 'answers')
  } catch (error) {
    return failed(subject, HeddleError.from(error))
  }
}

function ok(subject: string, message: string): Finding {
  return { level: 'ok', subject, message, remedy: '' }
}

function failed(subject: string, failure: HeddleError): Finding {
  const remedy = failure.remedy ?? 'look at the log of this service, and whether etcd answers (`etcdctl endpoint status`)'
  return { level: 'error', subject, message: failure.message, remedy }
}
