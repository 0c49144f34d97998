/**
 * Plugins that are wrong in one way each: a conforming one whose calls or answers are changed on their way. Each names the
 * rules that must find it; together they name every rule, so that each is known to be able to fail.
 */
import type { CniCall, CniOutcome, CniRuntime } from '@heddle/testkit'
import { ip } from './kernel.ts'

type Call = CniCall & { readonly config: any }
type Broken = (call: Call, plugin: CniRuntime) => Promise<CniOutcome>

export interface Fault {
  readonly what: string
  readonly breaks: readonly string[]
  /** Anew for each use: some remember what was asked before. */
  readonly start: () => Broken
}

const answer = (exitCode: number, stdout: string): CniOutcome => ({ exitCode, stdout, stderr: '', json: parsed(stdout) })
const printed = (json: unknown, exitCode = 0) => answer(exitCode, JSON.stringify(json))
const error = (msg: string, code = 100) => printed({ cniVersion: '1.1.0', code, msg }, 1)
const nothing = answer(0, '')

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function fault(what: string, breaks: readonly string[], call: Broken): Fault {
  return { what, breaks, start: () => call }
}

/** The plugin answers instead of doing, where `when` says so. */
function instead(what: string, breaks: readonly string[], when: (call: Call) => boolean, outcome: CniOutcome): Fault {
  return fault(what, breaks, async (call, plugin) => (when(call) ? outcome : plugin(call)))
}

/** The plugin does another thing than it was asked. */
function misheard(what: string, breaks: readonly string[], change: (call: Call) => CniCall): Fault {
  return fault(what, breaks, (call, plugin) => plugin(change(call)))
}

/** The result of an ADD is not what it made. */
function misreported(what: string, breaks: readonly string[], change: (result: any) => unknown): Fault {
  return fault(what, breaks, async (call, plugin) => {
    const outcome = await plugin(call)
    return call.command === 'ADD' && outcome.exitCode === 0 ? printed(change(outcome.json)) : outcome
  })
}

/** A failure is reported in another way. */
function misput(what: string, breaks: readonly string[], change: (outcome: CniOutcome) => CniOutcome): Fault {
  return fault(what, breaks, async (call, plugin) => {
    const outcome = await plugin(call)
    return outcome.exitCode === 0 ? outcome : change(outcome)
  })
}

const succeeds = (promise: Promise<unknown>): Promise<boolean> =>
  promise.then(
    () => true,
    () => false,
  )
const missing = (call: Call, name: string) => call.env !== undefined && name in call.env && call.env[name] === undefined
const is = (command: string) => (call: Call) => call.command === command

export const faults: readonly Fault[] = [
  instead('VERSION says nothing', ['VERSION-1', 'VERSION-2'], is('VERSION'), printed({})),
  fault('everything is followed by a line of the log', ['VERSION-4', 'ADD-2', 'DEL-2', 'ERROR-2'], async (call, plugin) => {
    const { exitCode, stdout } = await plugin(call)
    return answer(exitCode, `${stdout}\ndone\n`)
  }),
  misheard('a version that is none is taken for the newest', ['VERSION-3'], (call) => ({
    ...call,
    config: call.config.cniVersion === '99.0.0' ? { ...call.config, cniVersion: '1.1.0' } : call.config,
  })),
  instead('a configuration that is no JSON is as good as any', ['CONF-1', 'CONF-2'], ({ config }) => typeof config === 'string', printed({})),
  misheard('any name of a network will do', ['CONF-3', 'CONF-4'], (call) => ({ ...call, config: { ...call.config, name: 'conformance' } })),
  instead('args are refused', ['CONF-5'], ({ config }) => config.args !== undefined, error('args')),
  instead("Kubernetes' arguments are refused", ['CONF-6'], ({ args }) => args?.includes('K8S_') === true, error('CNI_ARGS')),
  instead('runtimeConfig is refused', ['CONF-7'], ({ config }) => config.runtimeConfig !== undefined, error('runtimeConfig')),
  misheard(
    'what is missing from the environment is made up',
    [...['CONTAINERID', 'NETNS', 'IFNAME'].flatMap((name) => [`ENV-ADD-${name}`, `ENV-CHECK-${name}`]), 'ENV-DEL-CONTAINERID', 'ENV-DEL-IFNAME', 'ENV-COMMAND'],
    ({ env: _, ...call }) => call,
  ),
  instead('CNI_PATH is insisted on', ['ENV-ADD-PATH', 'ENV-DEL-PATH'], (call) => missing(call, 'CNI_PATH'), error('CNI_PATH', 4)),
  misheard('any container id is made to fit', ['ENV-ID-1'], (call) => ({ ...call, containerId: `c${call.containerId?.replaceAll(/[^a-z0-9]/gi, '')}` })),
  instead('a long container id is refused', ['ENV-ID-2'], ({ containerId = '' }) => containerId.length > 64, error('too long')),
  misheard('any interface name is made to fit', ['ENV-IFNAME-1'], (call) => ({
    ...call,
    ifname: call.ifname?.replaceAll(/[^a-z0-9]/gi, 'x').slice(0, 15) ?? '',
  })),
  instead('an interface name of 15 letters is refused', ['ENV-IFNAME-2'], ({ ifname = '' }) => ifname.length === 15, error('too long')),
  fault('the interface stays down', ['ADD-1', 'ADD-7', 'ADD-8', 'ADD-9', 'ADD-10', 'IPAM-2'], async (call, plugin) => {
    const outcome = await plugin(call)
    if (call.command === 'ADD') await ip(call.netns ?? '', 'link', 'set', call.ifname ?? '', 'down')
    return outcome
  }),
  fault('an interface that is in the way is removed', ['ADD-3'], async (call, plugin) => {
    if (call.command === 'ADD') await succeeds(ip(call.netns ?? '', 'link', 'delete', call.ifname ?? ''))
    return plugin(call)
  }),
  instead(
    'an ADD to no namespace succeeds',
    ['ADD-4', 'ADD-5', 'DEL-10', 'IPAM-5'],
    ({ command, netns = '' }) => command === 'ADD' && ['/run/netns/never-was', '/etc/hostname'].includes(netns),
    printed({ cniVersion: '1.1.0' }),
  ),
  {
    what: 'a second ADD takes the addresses of the first away',
    breaks: ['ADD-6'],
    start: () => {
      const seen = new Set<unknown>()
      return async (call, plugin) => {
        if (call.command !== 'ADD' || !seen.has(call.containerId)) {
          seen.add(call.containerId)
          return plugin(call)
        }
        await ip(call.netns ?? '', 'address', 'flush', 'dev', call.ifname ?? '')
        return error('it is there already')
      }
    },
  },
  instead('a container has one interface', ['ADD-7', 'DEL-12', 'GC-5'], ({ ifname }) => ifname === 'eth0b', error('it has one')),
  {
    what: 'an attachment is made once',
    breaks: ['ADD-8', 'GC-7'],
    start: () => {
      const seen = new Set<unknown>()
      return async (call, plugin) => {
        if (call.command !== 'ADD') return plugin(call)
        if (seen.has(call.containerId)) return error('it was there before')
        seen.add(call.containerId)
        return plugin(call)
      }
    },
  },
  instead('a namespace below /proc is refused', ['ADD-9'], ({ netns }) => netns?.startsWith('/proc/') === true, error('no namespace')),
  instead('a link to a namespace is refused', ['ADD-10'], ({ netns }) => netns?.endsWith('.link') === true, error('no namespace')),
  instead('DEL does nothing', ['DEL-1', 'CHECK-DELETED', 'IPAM-3', 'IPAM-4', 'IPAM-6'], is('DEL'), nothing),
  instead('DEL answers with an empty object', ['DEL-2', 'DEL-5'], is('DEL'), printed({})),
  fault('DEL insists on what it is to delete', ['DEL-3', 'DEL-4', 'DEL-6', 'DEL-7', 'DEL-8', 'DEL-9', 'DEL-10'], async (call, plugin) => {
    const there = call.command !== 'DEL' || (await succeeds(ip(missing(call, 'CNI_NETNS') ? '' : (call.netns ?? ''), 'link', 'show', call.ifname ?? '')))
    return there ? plugin(call) : error('it is not there')
  }),
  instead('DEL insists on prevResult', ['DEL-5'], ({ command, config }) => command === 'DEL' && config.prevResult === undefined, error('prevResult')),
  {
    what: 'DEL deletes more than it was asked',
    breaks: ['DEL-11', 'DEL-12'],
    start: () => {
      const seen = new Set<string>()
      return async (call, plugin) => {
        const outcome = await plugin(call)
        if (call.command === 'ADD') seen.add(call.netns ?? '')
        if (call.command === 'DEL') for (const netns of seen) await succeeds(ip(netns, 'link', 'delete', 'eth0'))
        return outcome
      }
    },
  },
  instead(
    'CHECK finds nothing wrong, ever',
    ['3', '4', 'LINK-GONE', 'LINK-DOWN', 'MAC', 'ADDRESS', 'ROUTE', 'HOST', 'PORT', 'NETNS', 'DELETED'].map((name) => `CHECK-${name}`),
    is('CHECK'),
    nothing,
  ),
  instead('CHECK finds everything wrong', ['CHECK-1', 'CHECK-2', 'CHECK-5', 'CHECK-6', 'CHAIN-5', 'GC-1'], is('CHECK'), error('it is wrong')),
  instead('STATUS is never content', ['STATUS-1', 'STATUS-3'], is('STATUS'), error('not ready', 50)),
  instead('STATUS is always content', ['STATUS-2'], is('STATUS'), nothing),
  instead('GC does nothing', ['GC-2', 'GC-4', 'GC-5', 'GC-8'], is('GC'), nothing),
  instead('GC fails', ['GC-1', 'GC-2', 'GC-3', 'GC-6', 'GC-7'], is('GC'), error('it failed')),
  misheard('GC removes what is valid', ['GC-1', 'GC-2', 'GC-5'], (call) => ({
    ...call,
    config: call.command === 'GC' ? { ...call.config, 'cni.dev/valid-attachments': [] } : call.config,
  })),
  misheard('prevResult is not known', ['CHAIN-1', 'CHAIN-3'], (call) => ({
    ...call,
    config: call.command === 'ADD' ? { ...call.config, prevResult: undefined } : call.config,
  })),
  misreported('addresses point to the first interface of the chain', ['CHAIN-2', 'RESULT-IPS-1'], (result) => ({
    ...result,
    ips: result.ips.map((one: object) => ({ ...one, interface: 0 })),
  })),
  instead(
    'DEL refuses the result of a list',
    ['CHAIN-4', 'DEL-1'],
    ({ command, config }) => command === 'DEL' && config.prevResult !== undefined,
    error('prevResult'),
  ),
  misreported('every container is said to have one address', ['IPAM-1', 'IPAM-2', 'IPAM-4', 'RESULT-IPS-1', 'RESULT-IPS-2'], (result) => ({
    ...result,
    ips: result.ips.map((one: object) => ({ ...one, address: '10.97.0.29/27' })),
  })),
  instead('DEL without a namespace frees nothing', ['IPAM-6'], ({ command, netns }) => command === 'DEL' && netns === '', nothing),
  misreported(
    'the result is of no version',
    ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'].map((version) => `RESULT-${version}`),
    (result) => ({ ...result, cniVersion: '2.0.0' }),
  ),
  misreported('the result has keys of its own', ['RESULT-1.0.0', 'RESULT-1.1.0'], (result) => ({ ...result, weave: true })),
  misreported('the result has the wrong MAC', ['RESULT-INTERFACES-1'], (result) => ({
    ...result,
    interfaces: result.interfaces.map((one: object) => ({ ...one, mac: '02:00:00:00:00:99' })),
  })),
  misreported("the container's interface has no sandbox", ['RESULT-INTERFACES-2'], (result) => ({
    ...result,
    interfaces: result.interfaces.map(({ sandbox: _, ...one }: { sandbox?: string }) => one),
  })),
  misreported('the result has an interface that is nowhere', ['RESULT-INTERFACES-1', 'RESULT-INTERFACES-3'], (result) => ({
    ...result,
    interfaces: [...result.interfaces, { name: 'ghost0' }],
  })),
  misreported('the result has a route that is nowhere', ['RESULT-ROUTES-1'], (result) => ({ ...result, routes: [{ dst: '203.0.113.0/24' }] })),
  misput('a failure ends with 0', ['ERROR-1'], ({ stdout }) => answer(0, stdout)),
  misput('a failure is a line of text', ['ERROR-2', 'ERROR-3', 'ERROR-4', 'ERROR-5', 'ERROR-6', 'ERROR-7'], () => answer(1, 'it failed')),
  misput('the error object has no cniVersion', ['ERROR-5'], ({ json: { cniVersion: _, ...rest } }) => printed(rest, 1)),
  misput('the error object has a code that is reserved', ['ERROR-6'], ({ json }) => printed({ ...json, code: 42 }, 1)),
  misput('the details of an error are an object', ['ERROR-7'], ({ json }) => printed({ ...json, details: { why: 'so' } }, 1)),
]
