/** A container runtime's side of CNI: runs a plugin binary as the specification says and reads what it answers. */
import { spawn } from 'node:child_process'

export interface CniCall {
  readonly command: 'ADD' | 'DEL' | 'CHECK' | 'VERSION' | 'STATUS' | 'GC'
  readonly containerId?: string
  /** Path of the sandbox's network namespace. */
  readonly netns?: string
  readonly ifname?: string
  /** CNI_ARGS: `K=V;K2=V2`. */
  readonly args?: string
  /** The network configuration; text is sent as it is. */
  readonly config: unknown
  /** Further variables, and replacements of the above; undefined takes one away. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

export interface CniOutcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
  /** What stdout says; undefined when it is empty. */
  readonly json: any
}

export type CniRuntime = (call: CniCall) => Promise<CniOutcome>

/** No plugin takes longer; one that hangs is killed and has exit code -1. */
const timeout = 60_000

/** `plugin`, a path or a command with arguments, is run once a call, with nothing of this process's environment. */
export function cniRuntime(plugin: string | readonly [string, ...string[]], base: Readonly<Record<string, string>> = {}): CniRuntime {
  const [file, ...words] = typeof plugin === 'string' ? [plugin] : plugin
  return (call: CniCall): Promise<CniOutcome> => {
    const given = { CNI_COMMAND: call.command, CNI_CONTAINERID: call.containerId, CNI_NETNS: call.netns, CNI_IFNAME: call.ifname, CNI_ARGS: call.args }
    const set = Object.entries(given).flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const]))
    const wanted = Object.entries({ CNI_PATH: '/opt/cni/bin', ...base, ...Object.fromEntries(set), ...call.env })
    const env = Object.fromEntries(wanted.filter(([, value]) => value !== undefined))
    return new Promise((resolve, reject) => {
      const child = spawn(file, words, { env, stdio: 'pipe', timeout, killSignal: 'SIGKILL' })
      let [stdout, stderr] = ['', '']
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text
      })
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text
      })
      child.once('error', reject)
      child.once('close', (exitCode) => resolve({ exitCode: exitCode ?? -1, stdout, stderr, json: stdout.trim() === '' ? undefined : parsed(stdout) }))
      // A plugin that answers without reading all of its stdin is no failure of the runtime.
      child.stdin.on('error', () => {})
      child.stdin.end(typeof call.config === 'string' ? call.config : JSON.stringify(call.config))
    })
  }
}

function parsed(stdout: string): unknown {
  try {
    return JSON.parse(stdout)
  } catch {
    return undefined
  }
}
