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
  let container: object | undefined
  const engine = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://docker')
    asked.push(`${pathname} ${searchParams.get('filters') ?? ''}`.trim())
    if (pathname === '/containers/json') return response.end(JSON.stringify(container === undefined ? [] : [{ Id: 'c1' }]))
    if (pathname === '/containers/c1/json') return response.writeHead(container === undefined ? 404 : 200).end(JSON.stringify(container))
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
    set: (one: object) => {
      container = one
    },
  }
}

const running = (name: string) => ({
  Id: 'c1',
  Name: `/${name}`,
  NetworkSettings: {
    Networks: { blue: { EndpointID, Aliases: ['DB', 'c1', 'db'] }, host: { EndpointID: '', Aliases: null }, bridge: { EndpointID: 'foreign', Aliases: null } },
  },
})

test('the record of an endpoint has the container Docker made it for, and its name, and the new name when it gets one', async (t) => {
  const { gateway, asked, until, say, set } = await start(t)
  await connect(gateway, await createNetwork(gateway, { kind: 'bridge' }))
  const endpoint = () => gateway.cluster.endpoints.get(EndpointID)
  t.like(endpoint(), { containerId: '', containerName: '', state: 'wired' })
  const before = endpoint()

  set(running('web-1'))
  say({ Type: 'network', Action: 'connect', Actor: { ID: 'a'.repeat(64), Attributes: { container: 'c1', name: 'blue' } } })
  await until(() => endpoint()?.containerName === 'web-1')
  t.deepEqual({ ...endpoint(), revision: 0n }, { ...before, containerId: 'c1', containerName: 'web-1', aliases: ['db', 'c1'], revision: 0n })
  t.is(asked.at(-1), '/containers/c1/json')

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
  say({ Type: 'container', Action: 'start', Actor: { ID: 'c1' } })
  await until(() => asked.length > before + 1)
  t.is(gateway.cluster.endpoints.size, 0)
})
