/** What `heddle up` would run and what each part stands on, from the configuration alone. */
import { redactServer } from '@heddle/bus'
import { type BusService, busServices, subjectOf } from '@heddle/contract'
import { catalogue, needsStore, serviceNames } from './catalogue.ts'
import type { UpConfig } from './config.ts'

export function serviceGraph(config: UpConfig): string {
  const { roof, services } = config
  const names = services.map((service) => service.name)
  const brains = needsStore(names)
  const nats = roof.nats.servers.length > 0 ? roof.nats.servers.map(redactServer).join(' ') : `embedded nats-server on ${roof.embedded.listen}`
  const etcd = roof.etcd.endpoints.length > 0 ? roof.etcd.endpoints.join(' ') : `embedded etcd on ${roof.embedded.listen}, data in ${roof.dataDir}`
  const lines = [`host ${roof.host}`, `├─ bus    ${nats}`, ...(brains ? [`├─ store  ${etcd}`] : [])]
  for (const [index, service] of services.entries()) {
    const last = index === services.length - 1
    const { kind } = catalogue[service.name]
    const below = last ? '   ' : '│  '
    lines.push(`${last ? '└─' : '├─'} ${service.name}  ${kind}: ${service.summary}`)
    lines.push(`${below}├─ needs ${kind === 'brain' ? 'bus, store' : kind === 'hands' ? 'bus, kernel' : 'bus'}`)
    lines.push(`${below}└─ answers ${answersOf(service.name, roof.host, roof.runDir)}`)
  }
  const elsewhere = serviceNames.filter((name) => !names.includes(name))
  if (elsewhere.length > 0) lines.push(`expected elsewhere: ${elsewhere.join(', ')}`)
  return lines.map((line) => `${line}\n`).join('')
}

function answersOf(name: string, host: string, runDir: string): string {
  if (name === 'gateway') return `${runDir}/heddle.sock (gRPC), ${runDir}/cni.sock (CNI), Docker's plugin socket`
  const service: BusService | undefined = Object.values(busServices).find((each) => each.queue === name)
  const method = Object.values(service?.definition.methods ?? {})[0]
  if (service === undefined || method === undefined) return ''
  return subjectOf(service, method, host).replace(`.${method.name}`, '.*')
}
