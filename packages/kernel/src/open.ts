/** The kernel port on the netlink thread: each method is one request; its time on the thread becomes a span of the call. */
import { type Call, HeddleError, raceCall, recordSpan, remainingMs } from '@heddle/core'
import { namespaceText, toKernelError } from './errors.ts'
import { namespaceInode } from './nsfs.ts'
import { probeKernel } from './probe.ts'
import type { Reply, Request } from './protocol.ts'
import { recordFailedStep, recordStepSpans } from './spans.ts'
import { NetlinkThread } from './thread.ts'
import type { Kernel, LinkInfo, Namespace, NftSet, Question, Seen, Step, StepOutcome, VfInfo } from './types.ts'
import { Watchers } from './watchers.ts'
import type { Looked } from './worker/looks.ts'
import { workerUrl } from './worker-url.ts'

export interface KernelOptions {
  /** Path that 'own' stands for; the process's own namespace when absent. For several hosts in one process. */
  readonly own?: string
  /** Namespaces whose sockets stay open (the fabric). Their sockets keep them alive until deleteNamespace. */
  readonly residents?: readonly string[]
  /** Code of the netlink thread when it is not where `workerUrl` says. */
  readonly workerUrl?: URL
  /** Told when the netlink thread has died and a new one was started. */
  readonly onRestart?: (reason: Error) => void
}

export function openKernel(options: KernelOptions = {}): Kernel {
  const watchers = new Watchers({
    send: (request) => ask(request, undefined, 'watching links'),
    list: async (ns) => (await ask({ kind: 'links', ns }, undefined, 'reading links')) as readonly LinkInfo[],
  })
  const thread = new NetlinkThread({
    own: options.own,
    residents: options.residents ?? [],
    workerUrl: options.workerUrl ?? workerUrl(),
    onNotice: (notice) => watchers.onNotice(notice),
    onRestart(reason) {
      options.onRestart?.(reason)
      watchers.restart()
    },
  })

  async function ask(request: Request, call: Call | undefined, what: string): Promise<unknown> {
    const expiresAtMs = call === undefined ? Number.POSITIVE_INFINITY : performance.timeOrigin + performance.now() + remainingMs(call)
    const sent = thread.send(request, expiresAtMs)
    const reply = await (call === undefined ? sent : answered(sent, call, request))
    const failure = 'failure' in reply ? toKernelError(reply.failure, what) : undefined
    if (call !== undefined) recordSpan(call, `netlink ${spanName[request.kind]}`, reply.startMs, reply.endMs, attributes(request), failure?.message)
    if ('failure' in reply) throw failure
    return reply.value
  }

  async function run(steps: readonly Step[], call: Call): Promise<readonly StepOutcome[]> {
    if (steps.length === 0) return []
    const { value } = await program({ kind: 'run', steps }, call)
    recordStepSpans(call, steps, value as readonly StepOutcome[])
    return value as readonly StepOutcome[]
  }

  async function look(questions: readonly Question[], call: Call, steps: readonly Step[] = []): Promise<readonly Seen[]> {
    const { value, startMs, endMs } = await program({ kind: 'look', steps, questions }, call)
    const { outcomes, seen } = value as Looked
    recordStepSpans(call, steps, outcomes)
    recordSpan(call, `netlink ${spanName.look}`, outcomes.at(-1)?.endMs ?? startMs, endMs, {})
    return seen
  }

  async function program(request: Extract<Request, { readonly steps: readonly Step[] }>, call: Call): Promise<Extract<Reply, { readonly value: unknown }>> {
    const { steps } = request
    const expiresAtMs = performance.timeOrigin + performance.now() + remainingMs(call)
    const reply = await answered(thread.send(request, expiresAtMs), call, request)
    if (!('failure' in reply)) return reply
    const failure = toKernelError(reply.failure, request.kind === 'look' ? 'a program, or reading links' : 'a program', steps)
    recordStepSpans(call, steps, reply.outcomes ?? [])
    recordFailedStep(call, steps, reply, failure.message)
    throw failure
  }

  const kernel: Kernel = {
    run,
    look,
    removeLink: async (ns, name, call) => (await ask({ kind: 'remove', ns, name }, call, `removing ${name} from ${namespaceText(ns)}`)) as boolean,
    links: (ns, call) => read({ kind: 'links', ns }, call),
    link: async (ns, name, call) => (await ask({ kind: 'link', ns, name }, call, `reading ${name} of ${namespaceText(ns)}`)) as LinkInfo | undefined,
    vfs: async (ns, name, call) =>
      (await ask({ kind: 'vfs', ns, name }, call, `reading the virtual functions of ${name} in ${namespaceText(ns)}`)) as readonly VfInfo[],
    addresses: (ns, call) => read({ kind: 'addresses', ns, linkIndex: undefined }, call),
    addressesOf: (ns, linkIndex, call) => read({ kind: 'addresses', ns, linkIndex }, call),
    routes: (ns, call, table) => read({ kind: 'routes', ns, table }, call),
    neighbours: (ns, linkIndex, call) => read({ kind: 'neighbours', ns, linkIndex }, call),
    createNamespace: async (path, call) => (await ask({ kind: 'createNamespace', path }, call, `making namespace ${path}`)) as boolean,
    async deleteNamespace(path, call) {
      await ask({ kind: 'deleteNamespace', path }, call, `deleting namespace ${path}`)
    },
    namespaceInode,
    watchDevices: (listener) => watchers.addDevices(listener),
    watchLinks: (ns, listener) => watchers.add(ns, listener),
    async nftLoad(ns, ruleset, call) {
      await ask({ kind: 'nftLoad', ns, ruleset }, call, `loading nftables rules in ${namespaceText(ns)}`)
    },
    async nftElements(ns, set, changes, call) {
      const { add = [], remove = [] } = changes
      if (add.length + remove.length > 0) await ask({ kind: 'nftElements', ns, set, add, remove }, call, `changing ${setText(set)} in ${namespaceText(ns)}`)
    },
    nftList: async (ns, set, call) => (await ask({ kind: 'nftList', ns, set }, call, `reading ${setText(set)} in ${namespaceText(ns)}`)) as never,
    probe: (call) => probeKernel(kernel, call),
    close: () => thread.close(),
  }

  async function read<T>(request: Extract<Request, { ns: Namespace }>, call: Call): Promise<readonly T[]> {
    return (await ask(request, call, `reading ${request.kind} of ${namespaceText(request.ns)}`)) as readonly T[]
  }

  return kernel
}

/** What nobody waited for any longer, or a thread that died left unanswered, is a span as well: the time went there. */
async function answered(sent: Promise<Reply>, call: Call, request: Request): Promise<Reply> {
  const startMs = performance.timeOrigin + performance.now()
  try {
    return await raceCall(sent, call)
  } catch (error) {
    const endMs = performance.timeOrigin + performance.now()
    recordSpan(call, `netlink ${spanName[request.kind]}`, startMs, endMs, attributes(request), HeddleError.from(error).message)
    throw error
  }
}

const spanName: Readonly<Record<Request['kind'], string>> = {
  run: 'program',
  look: 'link.look',
  remove: 'link.delete',
  link: 'link.get',
  vfs: 'vf.get',
  links: 'link.dump',
  addresses: 'address.dump',
  routes: 'route.dump',
  neighbours: 'neighbour.dump',
  createNamespace: 'namespace.create',
  deleteNamespace: 'namespace.delete',
  watch: 'watch',
  watchDevices: 'watch.devices',
  unwatch: 'unwatch',
  nftLoad: 'nft.load',
  nftElements: 'nft.elements',
  nftList: 'nft.list',
  quit: 'quit',
}

function attributes(request: Request): Record<string, string> {
  return {
    ...('ns' in request ? { 'heddle.netns': request.ns === 'own' ? 'own' : request.ns.path } : {}),
    ...('path' in request ? { 'heddle.netns': request.path } : {}),
    ...('name' in request ? { 'heddle.link': request.name } : {}),
  }
}

function setText(set: NftSet): string {
  return `nftables set ${set.family} ${set.table} ${set.set}`
}
