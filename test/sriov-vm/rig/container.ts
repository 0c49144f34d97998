/** Namespaces in a guest that stand for containers, and the CNI launcher called for them as a runtime does. */
import type { RunResult } from '@heddle/testkit'
import type { Guest } from './guest.ts'

export interface Container {
  readonly name: string
  /** One CNI command; answers what was printed, parsed, and the exit code. */
  cni(command: 'ADD' | 'CHECK' | 'DEL', config: object): Promise<CniAnswer>
  /** ADD that must succeed. */
  add(config: object): Promise<Added>
  /** DEL that must succeed. */
  remove(config: object): Promise<void>
  /** A bash script inside. */
  run(script: string): Promise<string>
  attempt(script: string): Promise<RunResult>
  /** A link that was just set up has no carrier for a second or two: tried for ten, or for fewer where another has shown that it is up. */
  reaches(address: string, seconds?: number): Promise<boolean>
  /** The namespace alone, as when its process ends. */
  vanish(): Promise<void>
}

export interface CniAnswer {
  readonly code: number
  /** The result or the error of the CNI specification; undefined when nothing was printed. */
  readonly json: any
}

export interface Added {
  readonly result: object
  /** Without its length; empty when none was given. */
  readonly address: string
  /** Without their lengths. */
  readonly addresses: readonly string[]
  readonly mac: string
  /** Of the VF. */
  readonly pci: string
}

const interfaceName = 'net1'

export async function startContainer(guest: Guest, name: string): Promise<Container> {
  await guest.run(`ip netns add ${name} && ip -n ${name} link set lo up`)
  return containerOf(guest, name)
}

/** One that is there already, or that no longer is. */
export function containerOf(guest: Guest, name: string): Container {
  const attempt = (script: string) => guest.attempt(`ip netns exec ${name} bash <<'INSIDE'\n${script}\nINSIDE`)
  const cni: Container['cni'] = async (command, config) => {
    const { code, stdout, stderr } = await guest.attempt(cniScript(name, command, config))
    return { code, json: stdout === '' ? (code === 0 ? undefined : stderr) : JSON.parse(stdout) }
  }
  const must: Container['cni'] = async (command, config) => {
    const answer = await cni(command, config)
    if (answer.code !== 0) throw new Error(`${guest.name} ${name}: ${command} ended with ${answer.code}: ${JSON.stringify(answer.json)}`)
    return answer
  }
  return {
    name,
    cni,
    attempt,
    async add(config) {
      const { json: result } = await must('ADD', config)
      const inside = result.interfaces.find((one: { sandbox?: string }) => (one.sandbox ?? '') !== '')
      const addresses = (result.ips ?? []).map((ip: { address: string }) => ip.address.split('/')[0] ?? '')
      return { result, address: addresses[0] ?? '', addresses, mac: inside.mac, pci: inside.pciID }
    },
    remove: (config) => must('DEL', config).then(() => {}),
    async run(script) {
      const { code, stdout, stderr } = await attempt(script)
      if (code !== 0) throw new Error(`${guest.name} ${name}: exit code ${code} of\n${script}\n${stdout}${stderr}`)
      return stdout
    },
    // Busybox sends one packet only, whatever it is told.
    reaches: async (address, seconds = 10) =>
      (await attempt(`for try in {1..${seconds}}; do /rig/ping -q -c 1 -W 1 ${address} && exit; done; exit 1`)).code === 0,
    vanish: () => guest.run(`ip netns del ${name}`).then(() => {}),
  }
}

export function cniScript(container: string, command: string, config: object): string {
  return `env CNI_COMMAND=${command} CNI_CONTAINERID=${container} CNI_NETNS=/run/netns/${container} CNI_IFNAME=${interfaceName} CNI_PATH=/proj \
HEDDLE_CNI_SOCKET=/run/heddle/cni.sock HEDDLE_CNI_TIMEOUT_MS=30000 /proj/heddle-cni <<'CONFIG'
${JSON.stringify({ cniVersion: '1.1.0', type: 'heddle', ...config })}
CONFIG`
}
