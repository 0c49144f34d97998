/**
 * Hosts as network namespaces, joined by a bridge in a namespace of its own, so that neither the machine's firewall nor
 * its addresses take part. Host n has 10.250.0.n/24 and fd00:250::n/64 on `eth0`.
 */
import { randomBytes } from 'node:crypto'
import { attempt, run } from './shell.ts'
import type { LabScope } from './scope.ts'

export interface LabHost {
  readonly name: string
  /** Path of its network namespace. */
  readonly netns: string
  readonly address: string
  readonly address6: string
  /** Runs a command inside. */
  run(command: readonly string[]): Promise<string>
}

export interface Underlay {
  /** In the order of the names given. */
  readonly hosts: readonly LabHost[]
  host(name: string): LabHost
}

export interface UnderlayOptions {
  /** Default 1500. */
  readonly mtu?: number
}

export async function createUnderlay(scope: LabScope, names: readonly string[], options: UnderlayOptions = {}): Promise<Underlay> {
  const prefix = `hdlab-${randomBytes(3).toString('hex')}`
  const mtu = String(options.mtu ?? 1500)
  const fabric = `${prefix}-underlay`
  await addNamespace(scope, fabric)
  await run(['ip', '-n', fabric, 'link', 'add', 'underlay', 'mtu', mtu, 'type', 'bridge'])
  await run(['ip', '-n', fabric, 'link', 'set', 'underlay', 'up'])
  const hosts: LabHost[] = []
  for (const [index, name] of names.entries()) {
    const netns = `${prefix}-${name}`
    const address = `10.250.0.${index + 1}`
    const address6 = `fd00:250::${(index + 1).toString(16)}`
    await addNamespace(scope, netns)
    await run(['ip', '-n', fabric, 'link', 'add', `port${index}`, 'mtu', mtu, 'type', 'veth', 'peer', 'name', 'eth0', 'mtu', mtu, 'netns', netns])
    await run(['ip', '-n', fabric, 'link', 'set', `port${index}`, 'master', 'underlay', 'up'])
    await run(['ip', '-n', netns, 'address', 'add', `${address}/24`, 'dev', 'eth0'])
    await run(['ip', '-n', netns, 'address', 'add', `${address6}/64`, 'dev', 'eth0', 'nodad'])
    await run(['ip', '-n', netns, 'link', 'set', 'eth0', 'up'])
    await run(['ip', '-n', netns, 'link', 'set', 'lo', 'up'])
    const path = `/run/netns/${netns}`
    hosts.push({ name, netns: path, address, address6, run: (command) => run(['nsenter', `--net=${path}`, ...command]) })
  }
  return {
    hosts,
    host(name) {
      const host = hosts.find((candidate) => candidate.name === name)
      if (host === undefined) throw new RangeError(`no host ${name} in this laboratory`)
      return host
    },
  }
}

async function addNamespace(scope: LabScope, name: string): Promise<void> {
  scope.defer(`namespace ${name}`, () => attempt(['ip', 'netns', 'delete', name]))
  await run(['ip', 'netns', 'add', name])
}
