/**
 * Network namespaces as hosts on one wire: a bridge that every host's `eth0` is joined to by a veth. Made with `ip`, not
 * with what is under test. Nothing stays: removed by `remove`, when the process ends, and (after a crash) by the next run.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { execa, type Result } from 'execa'
import { namespaceFolder as folder, removeLeftovers } from './leftovers.ts'

export interface UnderlayOptions {
  readonly hosts: number
  readonly mtu?: number
  /** Also fd00:... addresses; default true. */
  readonly ipv6?: boolean
  /** The bridge stands in the test's own namespace instead of one of its own, so that its servers are in reach of the hosts. */
  readonly reachable?: boolean
}

export interface UnderlayHost {
  readonly name: string
  /** Its nsfs file; `ip netns exec <name>` works too. */
  readonly path: string
  readonly address: string
  /** Empty without ipv6. */
  readonly address6: string
}

export interface Underlay {
  readonly hosts: readonly UnderlayHost[]
  /** The bridge's own address, at which what runs beside it is reached. */
  readonly gateway: string
  /** Empty without ipv6. */
  readonly gateway6: string
  /** Namespace of the bridge; undefined when it is the test's own. */
  readonly switchPath: string | undefined
  /** Device name of a host's port on the bridge. */
  portOf(host: number): string
  /** Runs a command inside a host, without a shell; rejects when it fails. */
  exec(host: number, command: readonly [string, ...string[]], options?: { readonly input?: string; readonly timeoutMs?: number }): Promise<Result>
  /** The host's namespace goes with all that is in it, and is there anew under its name and addresses. */
  reboot(host: number): void
  remove(): void
}

const prefix = 'hdt'

export function createUnderlay(options: UnderlayOptions): Underlay {
  removeLeftovers()
  const id = randomBytes(3).toString('hex')
  const name = `${prefix}-${process.pid}-${id}`
  const switchName = options.reachable === true ? undefined : `${name}-switch`
  const bridge = `hdt${id}`
  const port = (host: number) => `${bridge}p${host}`
  const subnet = `10.${200 + ((randomBytes(1)[0] ?? 0) % 50)}.${randomBytes(1)[0]}`
  const subnet6 = `fd00:${id.slice(0, 4)}:${id.slice(4)}`
  const ipv6 = options.ipv6 !== false
  const mtu = options.mtu ?? 1500
  const hosts = Array.from({ length: options.hosts }, (_, index): UnderlayHost => {
    const hostName = `${name}-h${index}`
    return { name: hostName, path: `${folder}/${hostName}`, address: `${subnet}.${index + 1}`, address6: ipv6 ? `${subnet6}::${(index + 1).toString(16)}` : '' }
  })
  const remove = () => {
    process.removeListener('exit', remove)
    if (switchName === undefined) unlessGone(`/sys/class/net/${bridge}`, ['link', 'delete', bridge])
    else unlessGone(`${folder}/${switchName}`, ['netns', 'delete', switchName])
    for (const host of hosts) unlessGone(host.path, ['netns', 'delete', host.name])
  }
  process.once('exit', remove)
  const plugIn = (plugged: readonly UnderlayHost[]) => {
    const wire = plugged.flatMap((host) => {
      const device = port(hosts.indexOf(host))
      return [`link add ${device} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${host.name}`, `link set ${device} master ${bridge} up`]
    })
    batch(switchName, wire)
    for (const host of plugged) {
      const own = [`addr add ${host.address}/24 dev eth0`, 'link set lo up', 'link set eth0 up']
      if (ipv6) own.push(`addr add ${host.address6}/64 dev eth0 nodad`)
      batch(host.name, own)
    }
  }
  try {
    for (const host of [...hosts.map((each) => each.name), ...(switchName === undefined ? [] : [switchName])]) ip(['netns', 'add', host])
    batch(switchName, [
      ...[`link add ${bridge} mtu ${mtu} type bridge stp_state 0`, `addr add ${subnet}.254/24 dev ${bridge}`],
      ...(ipv6 ? [`addr add ${subnet6}::fe/64 dev ${bridge} nodad`] : []),
      `link set ${bridge} up`,
    ])
    plugIn(hosts)
  } catch (error) {
    remove()
    throw error
  }
  return {
    hosts,
    gateway: `${subnet}.254`,
    gateway6: ipv6 ? `${subnet6}::fe` : '',
    switchPath: switchName === undefined ? undefined : `${folder}/${switchName}`,
    portOf: port,
    exec(host, [command, ...args], { input = '', timeoutMs = 30_000 } = {}) {
      const path = hosts[host]?.path
      if (path === undefined) throw new RangeError(`there is no host ${host}`)
      return execa('nsenter', [`--net=${path}`, '--', command, ...args], { input, timeout: timeoutMs })
    },
    reboot(host) {
      const one = hosts[host]
      if (one === undefined) throw new RangeError(`there is no host ${host}`)
      // A namespace lives on while anything runs in it; its wire must not.
      batch(switchName, [`link delete ${port(host)}`])
      ip(['netns', 'delete', one.name])
      ip(['netns', 'add', one.name])
      plugIn([one])
    },
    remove,
  }
}

function ip(args: readonly string[], input = ''): void {
  // In a session of its own: a second Ctrl-C would end the removal half done.
  execFileSync('setsid', ['--wait', 'ip', ...args], { input, stdio: ['pipe', 'pipe', 'pipe'] })
}

function batch(namespace: string | undefined, lines: readonly string[]): void {
  ip([...(namespace === undefined ? [] : ['-n', namespace]), '-batch', '-'], `${lines.join('\n')}\n`)
}

/** For removal: what is gone already, or goes meanwhile, is as good. */
function unlessGone(path: string, args: readonly string[]): void {
  if (!existsSync(path)) return
  try {
    ip(args)
  } catch (error) {
    if (existsSync(path)) throw error
  }
}
