import { connect as connectTo } from 'node:net'
import anyTest, { type TestFn } from 'ava'
import fc from 'fast-check'
import { startGateway, type TestGateway } from '../testing/gateway.ts'
import { startParts } from '../testing/parts.ts'
import { dockerRoutes } from './routes.ts'

const test = anyTest as TestFn<{ gateway: TestGateway }>

test.before(async (t) => {
  t.context.gateway = await startGateway({ docker: { timeoutMs: 500 } })
})
test.after.always((t) => t.context.gateway.stop())

const { parts, stop } = await startParts()
const routes = [...dockerRoutes(parts).heddle]
test.after.always(() => stop())

test('the protocol has 22 methods', (t) => {
  t.is(routes.length, 22)
})

for (const [method, { schema }] of routes) {
  if (schema === undefined) {
    test(`${method} needs no body and answers whatever is sent`, async (t) => {
      for (const text of [undefined, '', '{}', 'nonsense']) {
        const answer = await t.context.gateway.docker.raw(method, text === undefined ? {} : { text })
        t.is(answer.status, 200)
        t.is(answer.contentType, 'application/vnd.docker.plugins.v1.2+json')
      }
    })
    continue
  }

  test(`${method} refuses an empty or malformed body with 400 in both of Docker's keys`, async (t) => {
    const malformed = [undefined, '', '\n', '{', '[]', 'null', '7', '"x"', '{"NetworkID":7,"EndpointID":{},"PoolID":[],"Options":3}', '\u0000']
    for (const text of malformed) {
      const { status, json, contentType } = await t.context.gateway.docker.raw(method, text === undefined ? {} : { text })
      t.is(status, 400, `${method} ${text}`)
      t.true(json.Err.length > 0 && json.Err === json.Error)
      t.is(contentType, 'application/vnd.docker.plugins.v1.2+json')
    }
  })

  test(`${method} is answered whatever is in its body`, async (t) => {
    const id = fc.oneof(fc.constant('a'.repeat(64)), fc.string({ maxLength: 80 }))
    const value = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constant(null), fc.constantFrom('10.1.0.0/16', '10.1.0.5', 'fd00::/64', '', '<nil>'))
    const data = fc.array(
      fc.record({
        AddressSpace: fc.constant('heddle'),
        Pool: value,
        Gateway: value,
        AuxAddresses: fc.dictionary(fc.string({ maxLength: 8 }), value, { maxKeys: 2 }),
      }),
      { maxLength: 2 },
    )
    const keys = {
      NetworkID: id,
      EndpointID: id,
      PoolID: id,
      Options: value,
      Interface: fc.record({ Address: value, AddressIPv6: value, MacAddress: value }),
      IPv4Data: fc.oneof(data, value),
      IPv6Data: value,
      Pool: value,
      SubPool: value,
      Address: value,
      V6: value,
      SandboxKey: value,
      AddressSpace: value,
    }
    await fc.assert(
      fc.asyncProperty(fc.record(keys, { requiredKeys: [] }), async (body) => {
        const { status, json } = await t.context.gateway.docker.call(method, body)
        t.true([200, 400, 500].includes(status))
        if (status === 200) return
        t.true(json.Err.length > 0)
        t.notRegex(json.Err, /this is a defect in Heddle/)
      }),
      { numRuns: 40 },
    )
  })
}

test('an unknown method is 404, another verb 405, and too much 413', async (t) => {
  const { docker } = t.context.gateway
  t.is((await docker.call('NetworkDriver.Teleport', {})).status, 404)
  t.is((await docker.call('', {})).status, 404)
  for (const verb of ['GET', 'PUT', 'DELETE']) t.is((await docker.raw('Plugin.Activate', { verb })).status, 405)
  const big = JSON.stringify({ NetworkID: 'a'.repeat(64), filler: 'x'.repeat(2 * 1024 * 1024) })
  t.is((await docker.raw('NetworkDriver.DeleteNetwork', { text: big })).status, 413)
  t.is((await docker.call('Plugin.Activate')).status, 200, 'and the door is open after that')
})

test('the handshake says one plugin for both kinds, local in scope', async (t) => {
  const { docker } = t.context.gateway
  t.deepEqual((await docker.call('Plugin.Activate')).json, { Implements: ['NetworkDriver', 'IpamDriver'] })
  t.like((await docker.call('NetworkDriver.GetCapabilities')).json, { Scope: 'local', GwAllocChecker: true })
  t.deepEqual((await docker.call('IpamDriver.GetCapabilities')).json, { RequiresMACAddress: false, RequiresRequestReplay: false })
})

test('a request that is refused before its body is there closes the connection and says so, and others keep it', async (t) => {
  const answerTo = (method: string, body: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connectTo(t.context.gateway.sockets.docker)
      socket.once('error', reject)
      socket.once('data', (chunk: Buffer) => {
        socket.destroy()
        resolve(chunk.toString().toLowerCase())
      })
      socket.write(`POST /${method} HTTP/1.1\r\nhost: docker\r\ncontent-length: 10\r\n\r\n${body}`)
    })
  t.regex(await answerTo('NetworkDriver.Teleport', '{"a"'), /^http\/1\.1 404 .*\r\nconnection: close\r\n/s)
  t.regex(await answerTo('Plugin.Activate', '          '), /^http\/1\.1 200 .*\r\nconnection: keep-alive\r\n/s)
})

test('a part of a pool that is not named is refused', async (t) => {
  const body = { AddressSpace: 'heddle', Pool: '', SubPool: '10.9.0.0/25', Options: null, V6: false }
  const { status, json } = await t.context.gateway.docker.call('IpamDriver.RequestPool', body)
  t.is(status, 500)
  t.regex(json.Error, /10\.9\.0\.0\/25 is a part of no pool; give --subnet/)
})
