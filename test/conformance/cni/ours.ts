/** Our own plugin as a subject of the suite: the whole stack on a host that is a namespace, and a network small enough to be gone through. */
import { join, resolve } from 'node:path'
import { createUnderlay, type HeddleProcess, type LabScope, startHeddle } from '@heddle/testkit'
import type { SubjectOptions } from './subject.ts'

export interface Ours {
  readonly heddle: HeddleProcess
  /** A network of a kind, as the configuration of the plugin defines it. */
  options(kind: OurKind): SubjectOptions
}

export type OurKind = 'bridge' | 'overlay' | 'macvlan' | 'host-device'

/** Small enough to be gone through, and none in another. Those that have no gateway on the host are given a route by some other. */
const networks: Readonly<Record<OurKind, { readonly heddle: object; readonly routes?: object }>> = {
  bridge: { heddle: { subnets: ['10.97.0.0/27'] } },
  overlay: { heddle: { subnets: ['10.97.0.32/27'] }, routes: defaultBy('10.97.0.62') },
  macvlan: { heddle: { subnets: ['10.97.0.64/27'], parent: { name: 'card0', mode: 'bridge' } }, routes: defaultBy('10.97.0.94') },
  'host-device': { heddle: { subnets: ['10.97.0.96/27'], parent: { name: 'card1' } }, routes: defaultBy('10.97.0.126') },
}

function defaultBy(gw: string): object {
  return [{ dst: '0.0.0.0/0', gw }]
}

export async function startOurs(scope: LabScope, dir: string): Promise<Ours> {
  const underlay = createUnderlay({ hosts: 1 })
  scope.defer('underlay', () => underlay.remove())
  const hostNetns = `/run/netns/${underlay.hosts[0]?.name}`
  const heddle = await startHeddle(scope, {
    host: 'weaver',
    netns: hostNetns,
    dir: join(dir, 'heddle'),
    config: { wiring: { underlay: { interface: 'eth0' } } },
  })
  return {
    heddle,
    options: (kind) => ({
      plugin: resolve(import.meta.dirname, '../../../deploy/cni-launcher/heddle-cni'),
      config: { name: `conformance-${kind}`, type: 'heddle', ...networks[kind], heddle: { kind, ...networks[kind].heddle } },
      path: '/opt/cni/bin',
      ifname: 'eth0',
      env: { HEDDLE_CNI_SOCKET: heddle.cniSocket },
      hostNetns,
      links: kind === 'macvlan' ? ['card0'] : kind === 'host-device' ? ['card1'] : [],
      exclusive: kind === 'host-device',
    }),
  }
}
