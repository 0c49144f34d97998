/** The services `heddle up` can run, in order of start: brains before hands, and the door last. Loaded only when chosen. */
import { HeddleError } from '@heddle/core'

export const serviceNames = ['ipam', 'networks', 'overlay', 'vf-allocator', 'netns-wiring', 'gateway'] as const
export type ServiceName = (typeof serviceNames)[number]

export interface ServiceEntry {
  readonly kind: 'brain' | 'hands' | 'door'
  /** Its section of the configuration. */
  readonly section: string
}

export const catalogue: Readonly<Record<ServiceName, ServiceEntry>> = {
  ipam: { kind: 'brain', section: 'ipam' },
  networks: { kind: 'brain', section: 'networks' },
  overlay: { kind: 'brain', section: 'overlay' },
  'vf-allocator': { kind: 'brain', section: 'vfAllocator' },
  'netns-wiring': { kind: 'hands', section: 'wiring' },
  gateway: { kind: 'door', section: 'gateway' },
}

/** In order of start, each once; `brains` stands for all of them, `host` for what every host runs, `all` for everything. */
export function chosenServices(names: readonly string[]): readonly ServiceName[] {
  const groups: Readonly<Record<string, readonly ServiceName[]>> = {
    all: serviceNames,
    brains: serviceNames.filter((name) => catalogue[name].kind === 'brain'),
    host: serviceNames.filter((name) => catalogue[name].kind !== 'brain'),
  }
  const wanted = new Set<ServiceName>()
  for (const name of names) {
    const group = groups[name] ?? serviceNames.filter((known) => known === name)
    if (group.length === 0) {
      throw new HeddleError('invalid-argument', `there is no service ${JSON.stringify(name)}`, {
        field: 'services',
        remedy: `choose from ${serviceNames.join(', ')}, brains, host, all`,
      })
    }
    for (const each of group) wanted.add(each)
  }
  if (wanted.size === 0) throw new HeddleError('invalid-argument', 'no service is chosen', { field: 'services', remedy: 'leave it out for all of them' })
  return serviceNames.filter((name) => wanted.has(name))
}

export function needsStore(services: readonly ServiceName[]): boolean {
  return services.some((name) => catalogue[name].kind === 'brain')
}
