/** One rule's dealings with the plugin: sandboxes and containers of its own, gone when it ends. */
import type { CniCall, CniOutcome } from '@heddle/testkit'
import { run } from '@heddle/testkit'
import { expect, type Rule, skip } from '../report.ts'
import { linksOf } from './kernel.ts'
import { addressesIn, hostInterfacesIn, isLoopback } from './result.ts'
import type { Subject } from './subject.ts'
import { type CniVersion, isAtLeast, since } from './versions.ts'

/** What names a container to the plugin. */
export interface Container {
  readonly containerId: string
  readonly netns: string
  readonly ifname: string
  readonly config: unknown
}

export interface Attached extends Container {
  /** As ADD printed it. */
  readonly result: any
}

let counter = 0

export function rule(id: string, section: string, text: string, prove: (trial: Trial) => Promise<unknown>): Rule<Subject> {
  return {
    id,
    section,
    text,
    async prove(subject) {
      const trial = new Trial(subject)
      try {
        await prove(trial)
      } finally {
        await trial.end()
      }
    },
  }
}

export class Trial {
  readonly subject: Subject
  readonly #containers: Container[] = []
  readonly #undo: (() => unknown)[] = []

  constructor(subject: Subject) {
    this.subject = subject
  }

  get version(): CniVersion {
    return this.subject.version
  }

  get ifname(): string {
    return this.subject.options.ifname
  }

  /** Calls the plugin; what an ADD makes is removed at the end. */
  call(command: CniCall['command'], container: Partial<Container> & { readonly config?: unknown }, more: Partial<CniCall> = {}): Promise<CniOutcome> {
    if (command === 'ADD' && container.containerId !== undefined) this.#containers.push(container as Container)
    return this.subject.call({ command, config: this.subject.config(), ...container, ...more })
  }

  /** A new network namespace. `lo` is down, as it is when a runtime has made one. */
  async sandbox(): Promise<string> {
    await this.subject.ensureLinks()
    const name = `hdconf-${process.pid}-${++counter}`
    await run(['ip', 'netns', 'add', name])
    this.#undo.push(() => run(['ip', 'netns', 'delete', name]).catch(() => ''))
    return `/run/netns/${name}`
  }

  /** Names a container that is not attached yet. */
  async container(more: Partial<Container> = {}): Promise<Container> {
    const netns = more.netns ?? (await this.sandbox())
    return { containerId: `conformance-${process.pid}-${++counter}`, ifname: this.ifname, config: this.subject.config(), ...more, netns }
  }

  async attach(more: Partial<Container> = {}): Promise<Attached> {
    return this.attached(await this.container(more))
  }

  async attached(container: Container): Promise<Attached> {
    const outcome = await this.call('ADD', container)
    expect(outcome.exitCode === 0, `ADD failed: ${said(outcome)}`)
    return { ...container, result: outcome.json }
  }

  /** Links on the host that were not there before, but for those of the network. */
  async newLinksSince(before: ReadonlySet<string>): Promise<string[]> {
    const names = (await linksOf(this.subject.host)).map(({ name }) => name)
    return names.filter((name) => !before.has(name) && !this.subject.shared.has(name))
  }

  async hostLinks(): Promise<ReadonlySet<string>> {
    return new Set((await linksOf(this.subject.host)).map(({ name }) => name))
  }

  defer(undo: () => unknown): void {
    this.#undo.push(undo)
  }

  async end(): Promise<void> {
    for (const container of this.#containers) await this.subject.cleanUp({ command: 'DEL', ...container }).catch(() => {})
    for (const undo of this.#undo.reverse()) await undo()
  }

  // What a rule needs to say anything.

  needs(command: keyof typeof since): void {
    if (!isAtLeast(this.version, since[command])) skip(`the plugin supports CNI up to ${this.version}; ${command} is of ${since[command]}`)
  }

  needsSeveral(): void {
    if (this.subject.options.exclusive) skip("the configuration's device can be in one sandbox only")
  }

  async needsFreeName(netns: string): Promise<void> {
    if ((await linksOf(netns)).some(({ name }) => name === this.ifname)) skip(`every sandbox has ${this.ifname} before ADD`)
  }

  needsAddress(result: unknown): void {
    if (addressesIn(result).length === 0) skip('the configuration gives no address')
  }

  /** Addresses that this network chooses for each of its containers. */
  needsOwnAddress(result: unknown): void {
    this.needsAddress(result)
    if (addressesIn(result).every(isLoopback)) skip('the only address is that of loopback')
  }

  needsHostInterface(result: unknown): void {
    if (hostInterfacesIn(result).length === 0) skip('the result has no interface of the host')
  }
}

export function said({ exitCode, stdout, stderr }: CniOutcome): string {
  const text = stdout.trim() || stderr.trim() || 'nothing'
  return `exit code ${exitCode}, ${text.length > 400 ? `${text.slice(0, 400)}...` : text}`
}

/** The call succeeded and printed nothing, as all but ADD and VERSION do. */
export function quiet(outcome: CniOutcome, what: string): void {
  expect(outcome.exitCode === 0, `${what} failed: ${said(outcome)}`)
  expect(outcome.stdout.trim() === '', `${what} printed ${said(outcome)}`)
}

/** The call failed as the specification wants it: an exit code, and one error object. */
export function refused(outcome: CniOutcome, what: string, codes: readonly number[] = []): void {
  expect(outcome.exitCode !== 0, `${what} succeeded: ${said(outcome)}`)
  const error = outcome.json
  expect(typeof error === 'object' && error !== null, `${what}: stdout is no error object: ${said(outcome)}`)
  expect(Number.isInteger(error.code) && error.code > 0, `${what}: code is not a positive number: ${said(outcome)}`)
  expect(typeof error.msg === 'string' && error.msg !== '', `${what}: msg is missing: ${said(outcome)}`)
  expect(codes.length === 0 || codes.includes(error.code), `${what}: code ${error.code} instead of ${codes.join(' or ')}: ${said(outcome)}`)
}
