/** Hosts of a test: namespaces joined by an underlay, each with netns-wiring on a real kernel, one MemoryBus for all. Tests only. */

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Client, MemoryBus, MemoryHub } from '@heddle/bus'
import { busServices, type Endpoint, type Network, type WiringDefinition } from '@heddle/contract'
import { type Call, macOf, withCall } from '@heddle/core'
import { type Kernel, openKernel } from '@heddle/kernel'
import { createRuntime, type RuntimeControl } from '@heddle/runtime'
import { createUnderlay, type Underlay, type UnderlayHost } from '@heddle/testkit'
import { type WiringConfig, wiringConfig } from '../config.ts'
import { wiringService } from '../main.ts'
import { FakeBrains } from './fake-brains.ts'
import { withRounds } from './rounds.ts'

export interface WiredHost {
  readonly lab: UnderlayHost
  readonly name: string
  readonly runDir: string
  readonly fabric: string
  readonly kernel: Kernel
  /** Every write to the kernel since the last `writes.length = 0`. */
  readonly writes: string[]
  readonly wiring: Client<WiringDefinition>
  readonly runtime: RuntimeControl
  readonly bus: MemoryBus
  /** One round now. */
  reconcile(): Promise<void>
  stop(): Promise<void>
}

export class Lab {
  readonly hub = new MemoryHub()
  readonly brains = new FakeBrains(this.hub)
  readonly #bus = new MemoryBus({ hub: this.hub })
  readonly #runDirs = new Map<string, string>()
  readonly #undo: (() => unknown)[] = []
  #underlay: Underlay | undefined
  #names: readonly string[] = []
  #next = 1

  static async create(names: readonly string[]): Promise<Lab> {
    const lab = new Lab()
    await lab.brains.start()
    const underlay = createUnderlay({ hosts: names.length })
    lab.#underlay = underlay
    lab.#names = names
    lab.#undo.push(() => underlay.remove())
    return lab
  }

  host(name: string): UnderlayHost {
    const host = this.#underlay?.hosts[this.#names.indexOf(name)]
    if (host === undefined) throw new RangeError(`no host ${name}`)
    return host
  }

  /** Another address of the underlay. */
  address(last: number): string {
    return `${this.#underlay?.hosts[0]?.address.replace(/\d+$/, '')}${last}`
  }

  /** Starts netns-wiring on a host; a second time it is the same host after a restart. */
  async start(name: string, config: Partial<WiringConfig> = {}): Promise<WiredHost> {
    const lab = this.host(name)
    const runDir = this.#runDirs.get(name) ?? mkdtempSync(join(tmpdir(), 'heddle-wiring-'))
    const fabric = join(runDir, 'netns', 'fabric')
    if (!this.#runDirs.has(name)) {
      this.#runDirs.set(name, runDir)
      this.#undo.push(async () => {
        // The fabric may be removed already.
        await sh('umount', fabric).catch(() => {})
        rmSync(runDir, { recursive: true, force: true })
      })
    }
    const writes: string[] = []
    const kernel = openKernel({ residents: [fabric] })
    const runtime = createRuntime({
      name: 'netns-wiring',
      host: name,
      version: 'test',
      log: { level: process.env['WIRING_LOG'] === undefined ? 'silent' : 'debug', pretty: true },
    })
    const settings = wiringConfig.parse({ runDir, underlay: { interface: 'eth0' }, reconcileMs: 3_600_000, ...config })
    const bus = new MemoryBus({ hub: this.hub })
    const rounds = withRounds(runtime)
    wiringService.build(rounds.runtime, { bus, kernel: counting(kernel, writes), hostNamespace: { path: lab.path } }, settings)
    await runtime.start()
    let stopped: Promise<void> | undefined
    const stop = () => (stopped ??= runtime.stop().then(() => kernel.close()))
    this.#undo.push(stop)
    return {
      lab,
      name,
      runDir,
      fabric,
      kernel,
      writes,
      runtime,
      bus,
      reconcile: rounds.reconcile,
      wiring: this.#bus.client(busServices.wiring, name),
      stop,
    }
  }

  /** A sandbox: a namespace of its own with `lo` up. */
  async sandbox(): Promise<string> {
    const name = `hdsand-${process.pid}-${this.#next++}`
    // The test may have ended it.
    this.#undo.push(() => sh('ip', 'netns', 'delete', name).catch(() => {}))
    await sh('ip', 'netns', 'add', name)
    await sh('ip', '-n', name, 'link', 'set', 'lo', 'up')
    return `/run/netns/${name}`
  }

  /** Records an endpoint and attaches it in a new sandbox, the way the gateway does. */
  async attach(host: WiredHost, network: Network, id: string, addresses: string[], routes: { destination: string; gateway: string }[] = []): Promise<Endpoint> {
    const endpoint = this.brains.put({
      id,
      networkId: network.id,
      host: host.name,
      mac: macOf(id),
      addresses,
      sandbox: await this.sandbox(),
      interfaceName: 'eth0',
    })
    await within((call) => host.wiring.attach({ network, endpoint, routes }, call))
    return endpoint
  }

  /** Undone at the end, in reverse order. */
  defer(undo: () => unknown): void {
    this.#undo.push(undo)
  }

  async close(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) await undo()
  }
}

export function within<T>(body: (call: Call) => Promise<T>, timeoutMs = 10_000): Promise<T> {
  return withCall({ timeoutMs }, body)
}

/** Runs a command; rejects with what it said. Never synchronous: the services under test share the event loop. */
export async function sh(...[command = '', ...args]: string[]): Promise<string> {
  return (await promisify(execFile)(command, args, { timeout: 20_000 })).stdout
}

/** Runs a command inside a namespace. */
export function inside(ns: string, ...command: string[]): Promise<string> {
  return sh('nsenter', `--net=${ns}`, ...command)
}

/** Whether `address` answers one of a few pings from the sandbox. */
export function pings(sandbox: string, address: string, count = 3): Promise<boolean> {
  return inside(sandbox, 'busybox', 'ping', '-c', String(count), '-i', '0.2', '-W', '1', address).then(
    () => true,
    () => false,
  )
}

/** Polls until the check is true. The only clock is a generous limit. */
export async function until(what: string, check: () => boolean | Promise<boolean>, limitMs = 10_000): Promise<void> {
  const endMs = performance.now() + limitMs
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`not within ${limitMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

function counting(kernel: Kernel, writes: string[]): Kernel {
  return {
    ...kernel,
    run(steps, call) {
      writes.push(...steps.map((step) => `${step.op}${'name' in step ? ` ${step.name}` : ''}`))
      return kernel.run(steps, call)
    },
    removeLink(ns, name, call) {
      writes.push(`remove ${name}`)
      return kernel.removeLink(ns, name, call)
    },
    nftLoad(ns, ruleset, call) {
      writes.push('nft load')
      return kernel.nftLoad(ns, ruleset, call)
    },
    nftElements(ns, set, changes, call) {
      writes.push(`nft ${set.set}`)
      return kernel.nftElements(ns, set, changes, call)
    },
    createNamespace(path, call) {
      writes.push('create namespace')
      return kernel.createNamespace(path, call)
    },
  }
}
