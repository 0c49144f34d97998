/**
 * The netlink thread. It sleeps in poll(2), never in Node's event loop: a request is a message in its queue plus a write
 * to an event descriptor, so requests, notifications, finished deletions and ended children all wake the same loop.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { Command, Notice, Reply, Request, WorkerSettings } from '../protocol.ts'
import type { StepOutcome } from '../types.ts'
import { type Dump, readOneLink, startDump } from './dumps.ts'
import { Expired, type Failure, toFailure } from './failures.ts'
import * as libc from './libc.ts'
import { createNamespace, deleteNamespace } from './lifetimes.ts'
import { look } from './looks.ts'
import { Namespaces } from './namespaces.ts'
import { changeElements } from './nftables.ts'
import { Poller } from './poller.ts'
import { ProgramFailure, runProgram } from './program.ts'
import { Removals } from './removals.ts'
import { Rulesets } from './rulesets.ts'
import { nowMs } from './time.ts'
import { readAllVfs } from './vfs.ts'
import { Watches } from './watches.ts'

/** So that a request to stop is seen even when its wake-up was lost. */
const maxSleepMs = 1000

const settings = workerData as WorkerSettings
const port = parentPort
if (port === null) throw new Error('the netlink worker is started by openKernel')
libc.shareDescriptors(settings.control.subarray(1), (closeFd) => port.postMessage({ closeFd } satisfies Notice))
const eventFd = libc.eventfd()
const poller = new Poller()
poller.add(eventFd, () => libc.drainEventfd(eventFd))
const namespaces = new Namespaces(settings.own, settings.residents)
const removals = new Removals(namespaces, poller)
const rulesets = new Rulesets(namespaces, poller)
const watches = new Watches(namespaces, poller, (notice) => port.postMessage(notice))
const dumps: { answer: Answer; steps: Generator<undefined, unknown[]> }[] = []
let quitting = false
const later = Symbol('later')

port.postMessage({ eventFd } satisfies Notice)
while (settings.control[0] === 0 && !(quitting && !removals.busy && dumps.length === 0)) {
  poller.wait(dumps.length > 0 ? 0 : maxSleepMs)
  for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port))
    for (const command of received.message as readonly Command[]) begin(command)
  const now = nowMs()
  removals.endOverdue(now)
  removals.start()
  rulesets.endExpired(now)
  continueDump()
}

type Outcome = { readonly value: unknown } | { readonly error: unknown }
type Answer = (outcome: Outcome) => void

function begin({ id, expiresAtMs, request }: Command): void {
  const startMs = nowMs()
  const answer: Answer = (outcome) => port?.postMessage({ id, startMs, endMs: nowMs(), ...toReply(outcome) } satisfies Reply)
  try {
    if (startMs > expiresAtMs) throw new Expired()
    const value = handle(request, answer, expiresAtMs)
    if (value !== later) answer({ value })
  } catch (error) {
    answer({ error })
  }
}

function toReply(outcome: Outcome): { value: unknown } | { failure: Failure; outcomes?: readonly StepOutcome[] } {
  if ('value' in outcome) return { value: outcome.value }
  if (outcome.error instanceof ProgramFailure) return { failure: outcome.error.failure, outcomes: outcome.error.outcomes }
  return { failure: toFailure(outcome.error) }
}

/** Returns the answer, or `later` when it comes by `answer`. */
function handle(request: Request, answer: Answer, expiresAtMs: number): unknown {
  switch (request.kind) {
    case 'run':
      return runProgram(namespaces, request.steps)
    case 'look':
      return look(namespaces, request.steps, request.questions)
    case 'link':
      return readOneLink(namespaces, request.ns, request.name)
    case 'vfs':
      return readAllVfs(namespaces, request.ns, request.name)
    case 'createNamespace':
      return createNamespace(namespaces, request.path)
    case 'deleteNamespace':
      return deleteNamespace(namespaces, watches, request.path)
    case 'watch':
      return watches.add(request.watch, request.ns)
    case 'watchDevices':
      return watches.addDevices(request.watch)
    case 'unwatch':
      return watches.remove(request.watch)
    case 'nftElements':
      return changeElements(namespaces, request.ns, request.set, request.add, request.remove)
    case 'remove':
      removals.add(request.ns, request.name, (result) => answer(typeof result === 'boolean' ? { value: result } : { error: result }))
      return later
    case 'nftLoad':
      rulesets.load(request.ns, request.ruleset, expiresAtMs, (error) => answer(error === undefined ? { value: undefined } : { error }))
      return later
    case 'quit':
      quitting = true
      return later
    default:
      dumps.push({ answer, steps: startDump(namespaces, request satisfies Dump) })
      return later
  }
}

/** One piece of the oldest dump, which then goes to the end of the row. */
function continueDump(): void {
  const dump = dumps.shift()
  if (dump === undefined) return
  try {
    const step = dump.steps.next()
    if (step.done === true) dump.answer({ value: step.value })
    else dumps.push(dump)
  } catch (error) {
    dump.answer({ error })
  }
}
