/** The CNI environment (CNI spec 1.1.0, section "Parameters"), checked before anything is done with it. */
import { type Stats, statfsSync, statSync } from 'node:fs'
import { checkContainerId, checkInterfaceName, HeddleError, type TraceHeaders } from '@heddle/core'
import { recoded } from '../fields.ts'

export const cniCommands = ['ADD', 'DEL', 'CHECK', 'STATUS', 'VERSION', 'GC'] as const
export type CniCommand = (typeof cniCommands)[number]

export interface CniEnvironment {
  readonly command: CniCommand
  readonly containerId: string
  readonly netns: string
  readonly interfaceName: string
  /** CNI_NETNS_OVERRIDE: whoever sets it wants interfaces in the host's own namespace. */
  readonly allowsHostNetns: boolean
  /** CNI_ARGS of ADD and CHECK, every key. */
  readonly args: ReadonlyMap<string, string>
  readonly trace: TraceHeaders
}

/** NSFS_MAGIC of uapi/linux/magic.h: the file system of namespace files. */
const nsfsMagic = 0x6e736673

/** Fails with invalid-environment, naming the variable. */
export function parseEnvironment(env: ReadonlyMap<string, string>): CniEnvironment {
  const read = (name: string) => env.get(name) ?? ''
  const command = cniCommands.find((one) => one === read('CNI_COMMAND'))
  if (command === undefined) throw wrong('CNI_COMMAND', `${JSON.stringify(read('CNI_COMMAND').slice(0, 40))} is not known`, `use ${cniCommands.join(', ')}`)
  const perContainer = command === 'ADD' || command === 'DEL' || command === 'CHECK'
  if (perContainer) {
    for (const name of ['CNI_CONTAINERID', 'CNI_IFNAME', ...(command === 'DEL' ? [] : ['CNI_NETNS'])]) {
      if (read(name) === '') throw wrong(name, 'is missing', `set it in the environment of ${command}`)
    }
    recoded('invalid-environment', 'CNI_CONTAINERID', () => checkContainerId(read('CNI_CONTAINERID')))
    recoded('invalid-environment', 'CNI_IFNAME', () => checkInterfaceName(read('CNI_IFNAME')))
    if (read('CNI_NETNS') !== '' && !/^\/[^\0]{0,4000}$/.test(read('CNI_NETNS')))
      throw wrong('CNI_NETNS', 'is not an absolute path', 'give the path of a network namespace')
  }
  return {
    command,
    containerId: read('CNI_CONTAINERID'),
    netns: read('CNI_NETNS'),
    interfaceName: read('CNI_IFNAME'),
    allowsHostNetns: ['1', 'true'].includes(read('CNI_NETNS_OVERRIDE').toLowerCase()),
    // A runtime may leave behind arguments that no longer parse; they must not keep a container from going away.
    args: command === 'ADD' || command === 'CHECK' ? parseArgs(read('CNI_ARGS')) : new Map(),
    trace: traceHeadersOf(env),
  }
}

export function traceHeadersOf(env: ReadonlyMap<string, string>): TraceHeaders {
  return { traceparent: env.get('TRACEPARENT') ?? '', tracestate: env.get('TRACESTATE') ?? '' }
}

/**
 * Fails with netns-gone when the path is missing or is no namespace, with host-namespace when it is this process's own:
 * addresses and routes of a container on the host itself would cut it off. What this process may not look at is left to
 * the hands.
 */
export function checkNetns({ netns: path, allowsHostNetns }: Pick<CniEnvironment, 'netns' | 'allowsHostNetns'>): void {
  const remedy = 'create the namespace before ADD, and give its path (for instance /run/netns/NAME)'
  const refuse = (code: 'netns-gone' | 'host-namespace', what: string) =>
    new HeddleError(code, `${JSON.stringify(path)} ${what}`, { field: 'CNI_NETNS', remedy })
  let found: Stats
  try {
    found = statSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return
    throw refuse('netns-gone', 'does not exist')
  }
  if (statfsSync(path).type !== nsfsMagic) throw refuse('netns-gone', 'is not a network namespace')
  if (allowsHostNetns) return
  const own = statSync('/proc/self/ns/net')
  if (found.ino === own.ino && found.dev === own.dev) throw refuse('host-namespace', 'is the network namespace of the host itself')
}

/** `K=V;K2=V2`. Keys that are not ours are other plugins'. */
function parseArgs(text: string): Map<string, string> {
  const args = new Map<string, string>()
  for (const part of text.split(';')) {
    if (part === '') continue
    const [key = '', value, ...rest] = part.split('=')
    if (key === '' || value === undefined || rest.length > 0)
      throw wrong('CNI_ARGS', `${JSON.stringify(part.slice(0, 80))} is not KEY=VALUE`, 'separate pairs with ";"')
    args.set(key, value)
  }
  return args
}

function wrong(name: string, what: string, remedy: string): HeddleError {
  return new HeddleError('invalid-environment', `${name} ${what}`, { field: name, remedy })
}
