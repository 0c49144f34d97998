/** Docker's own API is played by a server that answers what a test says; test/e2e/both-worlds.test.ts asks a real one. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { connect, createNetwork, EndpointID } from '../testing/docker-calls.ts'
import { startGateway } from '../testing/gateway.ts'

async function start(t: ExecutionContext) {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-engine-'))
  const streams = new Set<ServerResponse>()
  const asked: string[] = []
  let containers: object[] = []
  const engine = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://docker')
    asked.push(`${pathname} ${searchParams.get('filters') ?? ''}`)
    if (pathname === '/containers/json') return response.end(JSON.stringify(containers))
    response.flushHeaders()
    streams.add(response)
  })
  const socket = join(dir, 'docker.sock')
  await new Promise<void>((resolve) => engine.listen(socket, resolve))
  const gateway = await startGateway({ docker: { socket } })
  t.teardown(async () => {
    await gateway.stop()
    engine.closeAllConnections()
    engine.close()
    rmSync(dir, { recursive: true })
  })
  const until = async (isSo: () => boolean) => {
    for (let attempt = 0; !isSo(); attempt++) {
      if (attempt === 1000) throw new Error('it did not come about in 10 s')
      await delay(10)
    }
  }
  await until(() => asked.some((one) => one.startsWith('/containers/json')))
  return {
    gateway,
    asked,
    until,
    say: (event: object) => {
      const line = `${JSON.stringify(event)}\n`
      // In two parts, as a stream may be cut anywhere.
      for (const stream of streams) for (const part of [line.slice(0, 20), line.slice(20)]) stream.write(part)
    },
    set: (list: object[]) => {
      containers = list
    },
  }
}

const running = (name: string) => [
  {
    Id: 'c1',
    Names: ['/other/alias', `/${name}`],
    NetworkSettings: { Networks: { blue: { EndpointID }, host: { EndpointID: '' }, bridge: { EndpointID: 'foreign' } } },
  },
]

test('the record of an endpoint has the container Docker made it for, and its name, and the new name when it gets one', async (t) => {
  const { gateway, asked, until, say, set } = await start(t)
  await connect(gateway, await createNetwork(gateway, { kind: 'bridge' }))
  const endpoint = () => gateway.cluster.endpoints.get(EndpointID)
  t.like(endpoint(), { containerId: '', containerName: '', state: 'wired' })
  const before = endpoint()

  set(running('web-1'))
  say({ Type: 'network', Action: 'connect', Actor: { ID: 'a'.repeat(64), Attributes: { container: 'c1', name: 'blue' } } })
  await until(() => endpoint()?.containerName === 'web-1')
  t.deepEqual({ ...endpoint(), revision: 0n }, { ...before, containerId: 'c1', containerName: 'web-1', revision: 0n })
  t.is(asked.at(-1), '/containers/json {"id":["c1"]}')

  set(running('web-2'))
  say({ Type: 'container', Action: 'rename', Actor: { ID: 'c1', Attributes: { name: 'web-2' } } })
  await until(() => endpoint()?.containerName === 'web-2')
})

test('an endpoint that is gone when its name is known stays gone', async (t) => {
  const { gateway, asked, until, say, set } = await start(t)
  await connect(gateway, await createNetwork(gateway, { kind: 'bridge' }))
  await gateway.docker.call('NetworkDriver.DeleteEndpoint', { NetworkID: 'a'.repeat(64), EndpointID })
  set(running('web-1'))
  const before = asked.length
  say({ Type: 'container', Action: 'start', Actor: { ID: 'c1' } })
  await until(() => asked.length > before)
  set(running('web-1'))
  say({ Type: 'container', Action: 'start', Actor: { ID: 'c1' } })
  await until(() => asked.length > before + 1)
  t.is(gateway.cluster.endpoints.size, 0)
})
