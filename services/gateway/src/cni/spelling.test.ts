import test from 'ava'
import { parseAdd, parseConfig } from './config.ts'

const config = (runtimeConfig: unknown) => parseConfig(JSON.stringify({ cniVersion: '1.0.0', name: 'blue', type: 'heddle', runtimeConfig }))

test('ports and DNS are read as containerd spells them, and as the conventions do', (t) => {
  const ofContainerd = config({
    portMappings: [{ HostPort: 8080, ContainerPort: 80, Protocol: 'tcp', HostIP: '10.0.0.1' }],
    dns: { Servers: ['10.0.0.10'], Searches: ['lab'], Options: ['ndots:5'] },
    'io.kubernetes.cri.pod-annotations': { Servers: 'as it is' },
  })
  const conventional = config({
    portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '10.0.0.1' }],
    dns: { servers: ['10.0.0.10'], searches: ['lab'], options: ['ndots:5'] },
    'io.kubernetes.cri.pod-annotations': { Servers: 'as it is' },
  })
  t.deepEqual(ofContainerd.json, conventional.json)
  const wish = parseAdd(ofContainerd, new Map())
  t.deepEqual(wish.ports, [{ protocol: 'tcp', hostAddress: '10.0.0.1', hostPort: 8080, containerPort: 80 }])
  t.deepEqual(wish.dns, { nameservers: ['10.0.0.10'], search: ['lab'], options: ['ndots:5'] })
})

test('what is no object, or no capability with fields, stays as it is', (t) => {
  for (const runtimeConfig of [undefined, null, [], 'text', {}, { mac: '02:00:00:00:00:01', ips: ['10.0.0.1'] }, { portMappings: null }])
    t.deepEqual(config(runtimeConfig).json['runtimeConfig'], runtimeConfig)
})
