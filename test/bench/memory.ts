/**
 * Resident memory after 1,000 attachments made through the CNI launcher: of a cluster's host (gateway and netns-wiring in
 * one process), and of the embedded `heddle up` (every service in one process; its NATS and etcd are processes of their own).
 */

import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createUnderlay, type HeddleProcess, type Lab, run, startHeddle, withLab } from '@heddle/testkit'
import { buildExecTimer } from './exec-timer.ts'
import { bars, figure, type Suite } from './figures.ts'

const attachments = 1_000
const launcher = resolve(import.meta.dirname, '../../deploy/cni-launcher/heddle-cni')

export const memorySuite: Suite = {
  ids: ['rss-host', 'rss-embedded'],
  run: async (progress) => {
    const host = await withLab(async (lab) => {
      const underlay = createUnderlay({ hosts: 1, reachable: true })
      lab.scope.defer('underlay', () => underlay.remove())
      const control = await startHeddle(lab.scope, {
        host: 'control',
        dir: join(lab.dir, 'control'),
        services: ['brains'],
        config: { embedded: { listen: underlay.gateway } },
      })
      const netns = `/run/netns/${underlay.hosts[0]?.name}`
      const heddle = await startHeddle(lab.scope, {
        host: 'h0',
        netns,
        dir: join(lab.dir, 'h0'),
        services: ['host'],
        nats: control.nats,
        config: { wiring: { underlay: { interface: 'eth0' } } },
      })
      return residentAfterAttachments(lab, heddle, netns, progress)
    })
    const embedded = await withLab(async (lab) => {
      const underlay = createUnderlay({ hosts: 1 })
      lab.scope.defer('underlay', () => underlay.remove())
      const netns = `/run/netns/${underlay.hosts[0]?.name}`
      const heddle = await startHeddle(lab.scope, { host: 'bench', netns, dir: join(lab.dir, 'h') })
      return residentAfterAttachments(lab, heddle, netns, progress)
    })
    return [
      figure({
        id: 'rss-host',
        what: `gateway + netns-wiring after ${attachments} attachments`,
        unit: 'MiB',
        ours: host,
        rival: bars['rss-host']?.value ?? 0,
        rivalName: 'the limit we set',
      }),
      figure({
        id: 'rss-embedded',
        what: `heddle up after ${attachments} attachments`,
        unit: 'MiB',
        ours: embedded,
        rival: bars['rss-embedded']?.value ?? 0,
        rivalName: 'the limit we set',
      }),
    ]
  },
}

async function residentAfterAttachments({ scope, dir }: Lab, heddle: HeddleProcess, netns: string, progress: (line: string) => void): Promise<number> {
  await heddle.cli(['network', 'create', 'bench', '--kind', 'bridge', '--subnet', '10.90.0.0/16'])
  const names = Array.from({ length: attachments }, (_, index) => `hdm${process.pid}-${index}`)
  const batch = (verb: string) => run(['ip', '-force', '-batch', '-'], { input: names.map((name) => `netns ${verb} ${name}`).join('\n'), timeoutMs: 300_000 })
  scope.defer('sandboxes', () => batch('delete'))
  await batch('add')
  const stdin = join(dir, 'net.json')
  writeFileSync(stdin, JSON.stringify({ cniVersion: '1.0.0', name: 'bench', type: 'heddle' }))
  const timer = buildExecTimer(dir, netns)
  const before = heddle.residentBytes()
  await timer(
    names.map((name) => ({
      ...{ id: name, executable: launcher, stdin },
      env: {
        CNI_COMMAND: 'ADD',
        CNI_CONTAINERID: name,
        CNI_NETNS: `/run/netns/${name}`,
        CNI_IFNAME: 'eth0',
        CNI_PATH: '/usr/lib/cni',
        HEDDLE_CNI_SOCKET: heddle.cniSocket,
      },
    })),
    8,
  )
  const after = heddle.residentBytes()
  progress(`${heddle.host}: ${(before / 2 ** 20).toFixed(0)} MiB before, ${(after / 2 ** 20).toFixed(0)} MiB after ${attachments} attachments`)
  return after / 2 ** 20
}
