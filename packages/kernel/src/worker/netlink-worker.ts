/**
 * The netlink thread. It sleeps in poll(2), never in Node's event loop: a request is a message in its queue plus a write
 * to an event descriptor, so requests, notifications, finished deletions and ended children all wake the same loop.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { Command, Notice, Reply, Request, WorkerSettings } from '../protocol.ts'
import { type Dump, readOneLink, startDump } from './dumps.ts'
import { toFailure } from './failures.ts'
import * as libc from './libc.ts'
import { createNamespace, deleteNamespace } from './lifetimes.ts'
import { Namespaces } from './namespaces.ts'
import { changeElements, loadRuleset } from './nftables.ts'
import { Poller } from './poller.ts'
import { ProgramFailure, runProgram } from './program.ts'
import { Removals } from './removals.ts'
import { nowMs } from './time.ts'
import { Watches } from './watches.ts'

/** So that a request to stop is seen even when its wake-up was lost. */
const maxSleepMs = 1000

const settings = workerData as WorkerSettings
const port = parentPort
if (port === null) throw new Error('the netlink worker is started by openKernel')
libc.shareDescriptors(settings.control.subarray(1))
const eventFd = libc.eventfd()
const poller = new Poller()
poller.add(eventFd, () => libc.drainEventfd(eventFd))
const namespaces = new Namespaces(settings.own, settings.residents)
const removals = new Removals(namespaces, poller)
const watches = new Watches(namespaces, poller, (notice) => port.postMessage(notice))
const dumps: { answer: Answer; steps: Generator<undefined, unknown[]> }[] = []
let quitting = false

port.postMessage({ eventFd } satisfies Notice)
while (settings.control[0] === 0 && !(quitting && !removals.busy && dumps.length === 0)) {
  poller.wait(dumps.length > 0 ? 0 : maxSleepMs)
  for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) begin(received.message as Command)
  removals.start()
  continueDump()
}

type Answer = (outcome: { value: unknown } | { error: unknown }) => void

function begin(command: Command): void {
  const startMs = nowMs()
  const answer: Answer = (outcome) => port?.postMessage(reply(command.id, startMs, outcome))
  try {
    if (startMs > command.expiresAtMs) port?.postMessage({ id: command.id, startMs, endMs: startMs, failure: { kind: 'expired' } } satisfies Reply)
    else handle(command.request, answer)
  } catch (error) {
    answer({ error })
  }
}

function reply(id: number, startMs: number, outcome: { value: unknown } | { error: unknown }): Reply {
  const endMs = nowMs()
  if ('value' in outcome) return { id, startMs, endMs, value: outcome.value }
  return { id, startMs, endMs, failure: outcome.error instanceof ProgramFailure ? outcome.error.failure : toFailure(outcome.error) }
}

function handle(request: Request, answer: Answer): void {
  switch (request.kind) {
    case 'run':
      return answer({ value: runProgram(namespaces, request.steps) })
    case 'link':
      return answer({ value: readOneLink(namespaces, request.ns, request.name) })
    case 'remove':
      return removals.add(request.ns, request.name, (result) => answer(typeof result === 'boolean' ? { value: result } : { error: result }))
    case 'createNamespace':
      return answer({ value: createNamespace(namespaces, request.path) })
    case 'deleteNamespace':
      return answer({ value: deleteNamespace(namespaces, request.path) })
    case 'watch':
      return answer({ value: watches.add(request.watch, request.ns) })
    case 'unwatch':
      return answer({ value: watches.remove(request.watch) })
    case 'nftLoad':
      return loadRuleset(namespaces, poller, request.ns, request.ruleset, (error) => answer(error === undefined ? { value: undefined } : { error }))
    case 'nftElements':
      return answer({ value: changeElements(namespaces, request.ns, request.set, request.add, request.remove) })
    case 'quit':
      quitting = true
      return
    default:
      dumps.push({ answer, steps: startDump(namespaces, request satisfies Dump) })
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
