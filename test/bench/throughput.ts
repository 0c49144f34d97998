/**
 * One TCP stream between containers on two hosts: Heddle's overlay, Docker's overlay and the bare underlay in turn. Then one from
 * the other host to a published port, of a container on Heddle's bridge and on Docker's.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { run, withLab } from '@heddle/testkit'
import { figure, median, type Suite } from './figures.ts'
import { addressOn, startTwoHosts } from './two-hosts.ts'

const rounds = 5
const secondsEach = 3
const iperfPort = 5201

export const throughputSuite: Suite = {
  ids: ['overlay-tcp', 'overlay-tcp-underlay', 'published-port-tcp'],
  run: (progress) =>
    withLab(async (lab) => {
      const two = await startTwoHosts(lab)
      const { hosts, rival, ours, container } = two
      const [first, second] = hosts
      const server = await container(first, 'server')
      const client = await container(second, 'client')
      for (const network of [rival, ours]) {
        await first.dockerd.api('POST', `/networks/${network}/connect`, { Container: server.id })
        await second.dockerd.api('POST', `/networks/${network}/connect`, { Container: client.id })
      }
      const between = `/proc/${server.pid}/ns/net`
      const from = `/proc/${client.pid}/ns/net`
      const published = async (name: string, NetworkMode: string, port: number): Promise<Path> => {
        const its = `${iperfPort}/tcp`
        const HostConfig = { NetworkMode, PortBindings: { [its]: [{ HostPort: String(port) }] } }
        const { pid } = await container(first, name, { ExposedPorts: { [its]: {} }, HostConfig })
        return { server: `/proc/${pid}/ns/net`, client: second.netns, address: first.host.address, port }
      }
      const paths: Record<string, Path> = {
        ours: { server: between, client: from, address: await addressOn(first, server.id, ours) },
        rival: { server: between, client: from, address: await addressOn(first, server.id, rival) },
        underlay: { server: first.netns, client: second.netns, address: first.host.address },
        'our port': await published('our-port', two.oursBridge, 6201),
        "rival's port": await published('rival-port', two.rivalBridge, 6202),
      }
      const rates: Record<string, number[]> = Object.fromEntries(Object.keys(paths).map((name) => [name, []]))
      for (let round = 0; round < rounds; round++) {
        for (const [name, path] of Object.entries(paths)) rates[name]?.push(await gigabitsPerSecond(path))
        progress(
          `round ${round + 1}: ${Object.entries(rates)
            .map(([name, values]) => `${name} ${values.at(-1)?.toFixed(1)}`)
            .join(', ')} Gbit/s`,
        )
      }
      const of = (name: string) => median(rates[name] ?? [])
      return [
        figure({
          id: 'overlay-tcp',
          what: 'one TCP stream, container to container',
          unit: 'Gbit/s',
          ours: of('ours'),
          rival: of('rival'),
          rivalName: "Docker's overlay",
        }),
        figure({
          id: 'overlay-tcp-underlay',
          what: 'one TCP stream against the bare wire',
          unit: 'Gbit/s',
          ours: of('ours'),
          rival: of('underlay'),
          rivalName: 'the underlay, host to host',
        }),
        figure({
          id: 'published-port-tcp',
          what: 'one TCP stream to a published port, from another host',
          unit: 'Gbit/s',
          ours: of('our port'),
          rival: of("rival's port"),
          rivalName: "a published port of Docker's bridge",
        }),
      ]
    }),
}

interface Path {
  /** Network namespaces of both ends. */
  readonly server: string
  readonly client: string
  /** Where the client finds the server. */
  readonly address: string
  /** Published for the server's own. */
  readonly port?: number
}

async function gigabitsPerSecond({ server: between, client, address, port = iperfPort }: Path): Promise<number> {
  const server = spawn('nsenter', [`--net=${between}`, 'setpriv', '--pdeathsig', 'KILL', 'iperf3', '--server', '--one-off', '--port', String(iperfPort)], {
    stdio: 'ignore',
  })
  const ended = once(server, 'exit')
  try {
    await delay(300)
    const options = ['--json', '--time', String(secondsEach), '--client', address, '--port', String(port)]
    const report = JSON.parse(await run(['nsenter', `--net=${client}`, 'iperf3', ...options]))
    if (report.error !== undefined) throw new Error(`iperf3 to ${address}, port ${port}: ${report.error}`)
    return (report.end.sum_received.bits_per_second as number) / 1e9
  } finally {
    server.kill()
    await ended
  }
}
