/** The reference plugins as subjects: each with an IPAM of its own files, in a host of its own. */
import { join } from 'node:path'
import type { SubjectOptions } from './subject.ts'

const path = '/usr/lib/cni'

export const rivals = ['bridge', 'ptp', 'macvlan', 'host-device', 'loopback'] as const

const configurations: Readonly<Record<(typeof rivals)[number], object>> = {
  bridge: { bridge: 'conf0', isGateway: true },
  ptp: {},
  macvlan: { master: 'card0' },
  'host-device': { device: 'card0' },
  loopback: {},
}

/** `dir` is for what host-local remembers. */
export function rival(name: (typeof rivals)[number], dir: string): SubjectOptions {
  const ipam = { type: 'host-local', dataDir: join(dir, name), ranges: [[{ subnet: '10.98.0.0/27' }]], routes: [{ dst: '0.0.0.0/0' }] }
  return {
    plugin: join(path, name),
    config: { name, type: name, ...configurations[name], ...(name === 'loopback' ? {} : { ipam }) },
    path,
    ifname: name === 'loopback' ? 'lo' : 'eth0',
    env: {},
    links: name === 'macvlan' || name === 'host-device' ? ['card0'] : [],
    exclusive: name === 'host-device',
  }
}
