/** Our own plugin as a subject of the suite: the whole stack on a host that is a namespace, and a network small enough to be gone through. */
import { join, resolve } from 'node:path'
import { createUnderlay, type HeddleProcess, type LabScope, startHeddle } from '@heddle/testkit'
import type { SubjectOptions } from './subject.ts'

export interface Ours {
  readonly heddle: HeddleProcess
  readonly options: SubjectOptions
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
    options: {
      plugin: resolve(import.meta.dirname, '../../../deploy/cni-launcher/heddle-cni'),
      config: { name: 'conformance', type: 'heddle', heddle: { kind: 'bridge', subnets: ['10.97.0.0/27'] } },
      path: '/opt/cni/bin',
      ifname: 'eth0',
      env: { HEDDLE_CNI_SOCKET: heddle.cniSocket },
      hostNetns,
      links: [],
      exclusive: false,
    },
  }
}
