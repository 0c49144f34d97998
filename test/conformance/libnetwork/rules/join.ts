/** Join and Leave: what the engine is told to move into a sandbox, in and out of order. */
import { execFile } from 'node:child_process'
import { isIP } from 'node:net'
import { promisify } from 'node:util'
import { expect, type Rule, skip } from '../../report.ts'
import { newId } from '../plugin.ts'
import { isCidr, isIn, join, joinRequest, makeEndpoint, type Net, needs, removeEndpoint, type Subject, withEndpoint, withNetwork } from '../stage.ts'

interface StaticRoute {
  readonly Destination: string
  readonly RouteType: number
  readonly NextHop?: string
}

const routesOf = (answer: any): StaticRoute[] => answer.StaticRoutes ?? []

function isReachable(answer: any, net: Net, gateway: string): boolean {
  return (
    isIn(net.prefix, gateway) || routesOf(answer).some(({ RouteType, Destination }) => RouteType === 1 && isCidr(Destination) && isIn(Destination, gateway))
  )
}

/** The link in the namespace this runs in; undefined when there is none. */
async function linkOf(name: string): Promise<{ readonly address: string } | undefined> {
  try {
    return JSON.parse((await promisify(execFile)('ip', ['-json', 'link', 'show', 'dev', name])).stdout)[0]
  } catch {
    return undefined
  }
}

async function withLink(subject: Subject, body: (name: string, endpoint: Parameters<typeof join>[1], net: Net) => Promise<void>): Promise<void> {
  needs(subject, 'NetworkDriver')
  if (!subject.links) skip('give --links, in the network namespace of the engine')
  await withEndpoint(subject, async (endpoint, net) => {
    const name = (await join(subject, endpoint)).InterfaceName?.SrcName ?? ''
    if (name === '') skip('the driver puts the interface into the sandbox itself')
    await body(name, endpoint, net)
  })
}

export const joinRules: readonly Rule<Subject>[] = [
  {
    id: 'JOIN-1',
    section: 'remote.md, Join',
    text: 'the interface to move has a name of at most 15 bytes, and a prefix for its name in the sandbox; or none is named',
    prove: (subject) =>
      withEndpoint(subject, async (endpoint) => {
        const name = (await join(subject, endpoint)).InterfaceName
        if (!name?.SrcName) return
        expect(Buffer.byteLength(name.SrcName) <= 15 && !/[\s/]/.test(name.SrcName), `${JSON.stringify(name.SrcName)} is no name of an interface`)
        expect(typeof name.DstPrefix === 'string' && name.DstPrefix !== '', `DstPrefix is ${JSON.stringify(name.DstPrefix)}`)
      }),
  },
  {
    id: 'JOIN-2',
    section: 'remote.md, Join',
    text: 'the gateways are addresses without a length, each of its family, or empty',
    prove: (subject) =>
      withEndpoint(subject, async (endpoint) => {
        const { Gateway = '', GatewayIPv6 = '' } = await join(subject, endpoint)
        expect(Gateway === '' || isIP(Gateway) === 4, `Gateway is ${JSON.stringify(Gateway)}`)
        expect(GatewayIPv6 === '' || isIP(GatewayIPv6) === 6, `GatewayIPv6 is ${JSON.stringify(GatewayIPv6)}`)
      }),
  },
  {
    id: 'JOIN-3',
    section: 'remote.md, Join',
    text: 'the gateway can be reached: it is in the subnet, or behind a connected route',
    prove: (subject) =>
      withEndpoint(subject, async (endpoint, net) => {
        const answer = await join(subject, endpoint)
        const gateway = answer.Gateway ?? ''
        if (gateway !== '') expect(isReachable(answer, net, gateway), `${gateway} is outside ${net.prefix}, and no route leads to it`)
      }),
  },
  {
    id: 'JOIN-4',
    section: 'remote.md, Join',
    text: 'a static route has a destination, and a next hop if and only if its type is 0',
    prove: (subject) =>
      withEndpoint(subject, async (endpoint) => {
        for (const route of routesOf(await join(subject, endpoint))) {
          expect(isCidr(route.Destination), `the destination of ${JSON.stringify(route)} is none: the engine crashes on it`)
          expect(route.RouteType === 0 || route.RouteType === 1, `the type of ${JSON.stringify(route)}`)
          expect((route.RouteType === 0) === (isIP(route.NextHop ?? '') !== 0), `the next hop of ${JSON.stringify(route)}`)
        }
      }),
  },
  {
    id: 'JOIN-5',
    section: 'remote.md, Join',
    text: 'on a network that no container leaves (--internal) there is no gateway and no default route',
    prove: (subject) =>
      withEndpoint(
        subject,
        async (endpoint) => {
          const answer = await join(subject, endpoint)
          expect(!answer.Gateway && !answer.GatewayIPv6, `the gateway is ${answer.Gateway || answer.GatewayIPv6}`)
          const way = routesOf(answer).find(({ Destination }) => /\/0$/.test(Destination))
          expect(way === undefined, `there is a route to ${way?.Destination}`)
        },
        { internal: true },
      ),
  },
  {
    id: 'JOIN-6',
    section: 'design.md, The Container Network Model',
    text: 'an endpoint that was not created does not join',
    prove: (subject) =>
      withNetwork(subject, async (net) => {
        const request = joinRequest({ NetworkID: net.NetworkID, EndpointID: newId() })
        await subject.plugin.refused('NetworkDriver.Join', request, 'for an endpoint that never was')
      }),
  },
  {
    id: 'JOIN-7',
    section: 'design.md, The Container Network Model',
    text: 'an endpoint that was deleted does not join',
    prove: (subject) =>
      withEndpoint(subject, async (endpoint) => {
        await subject.plugin.ok('NetworkDriver.DeleteEndpoint', endpoint.ids)
        await subject.plugin.refused('NetworkDriver.Join', joinRequest(endpoint.ids), 'for an endpoint that was deleted')
      }),
  },
  {
    id: 'JOIN-8',
    section: 'plugin_api.md, Plugin retries',
    text: 'a Join that is repeated for the same sandbox answers the same',
    prove: (subject) =>
      withEndpoint(subject, async ({ ids }) => {
        const request = joinRequest(ids)
        const [first, again] = [await subject.plugin.ok('NetworkDriver.Join', request), await subject.plugin.ok('NetworkDriver.Join', request)]
        expect(JSON.stringify(first) === JSON.stringify(again), `first ${JSON.stringify(first)}, then ${JSON.stringify(again)}`)
      }),
  },
  {
    id: 'JOIN-9',
    section: 'design.md, The Container Network Model',
    text: 'an endpoint outlives its sandbox: after a Leave it joins another one',
    prove: (subject) =>
      withEndpoint(subject, async (endpoint) => {
        await join(subject, endpoint)
        await subject.plugin.ok('NetworkDriver.Leave', endpoint.ids)
        await join(subject, endpoint)
      }),
  },
  {
    id: 'JOIN-10',
    section: 'design.md, The Container Network Model',
    text: 'two endpoints of one network that join at once have interfaces of their own',
    prove: (subject) =>
      withEndpoint(subject, async (first, net) => {
        const second = await makeEndpoint(subject, net)
        try {
          const [one, other] = await Promise.all([join(subject, first), join(subject, second)])
          const name = one.InterfaceName?.SrcName ?? ''
          expect(name === '' || name !== other.InterfaceName?.SrcName, `both have ${name}`)
        } finally {
          await removeEndpoint(subject, net, second)
        }
      }),
  },
  {
    id: 'LEAVE-1',
    section: 'remote.md, Leave',
    text: 'a Leave succeeds, and again',
    prove: (subject) =>
      withEndpoint(subject, async (endpoint) => {
        await join(subject, endpoint)
        for (let time = 0; time < 2; time++) await subject.plugin.ok('NetworkDriver.Leave', endpoint.ids)
      }),
  },
  {
    id: 'LEAVE-2',
    section: 'remote.md, Leave',
    text: 'a Leave succeeds for an endpoint that did not join, and for one that is not there',
    prove: (subject) =>
      withEndpoint(subject, async ({ ids }) => {
        for (const EndpointID of [ids.EndpointID, newId()]) await subject.plugin.ok('NetworkDriver.Leave', { ...ids, EndpointID })
      }),
  },
  {
    id: 'LINK-1',
    section: 'remote.md, Join',
    text: "the interface that a Join names is there, in the engine's network namespace",
    prove: (subject) => withLink(subject, async (name) => expect((await linkOf(name)) !== undefined, `there is no interface ${name}`)),
  },
  {
    id: 'LINK-2',
    section: 'remote.md, Create endpoint',
    text: 'it has the MAC address that the driver answered',
    prove: (subject) =>
      withLink(subject, async (name, { answer }) => {
        const wanted = answer.Interface?.MacAddress ?? ''
        if (wanted === '') skip('the driver leaves the MAC address to the engine')
        const has = (await linkOf(name))?.address ?? 'none'
        expect(has === wanted.toLowerCase(), `${name} has ${has}, not ${wanted}`)
      }),
  },
  {
    id: 'LINK-3',
    section: 'design.md, The Container Network Model',
    text: 'it is gone when the endpoint is deleted, before the answer or soon after it',
    prove: (subject) =>
      withLink(subject, async (name, endpoint, net) => {
        await removeEndpoint(subject, net, endpoint)
        for (let tries = 0; (await linkOf(name)) !== undefined; tries++) {
          expect(tries < 50, `${name} is still there`)
          await new Promise((resolve) => setTimeout(resolve, 100))
        }
      }),
  },
]
