/** netns-wiring of host `a` on a kernel in memory, with brains in memory. Tests only. */
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, MemoryBus, MemoryHub } from '@heddle/bus'
import { busServices, type WiringDefinition } from '@heddle/contract'
import { randomId } from '@heddle/core'
import { openSysfs } from '@heddle/kernel'
import { createRuntime } from '@heddle/runtime'
import type { ExecutionContext } from 'ava'
import { type WiringConfig, wiringConfig } from '../config.ts'
import { fabricPath, wiringService } from '../main.ts'
import { FakeBrains } from './fake-brains.ts'
import { FakeKernel } from './fake-kernel.ts'
import { withRounds } from './rounds.ts'

export interface FakeHost {
  readonly kernel: FakeKernel
  readonly brains: FakeBrains
  readonly wiring: Client<WiringDefinition>
  readonly fabric: string
  /** One round now. */
  reconcile(): Promise<void>
  /** The same host with a new process. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export async function setUp(t: ExecutionContext, settings: Partial<WiringConfig> = {}): Promise<FakeHost> {
  const hub = new MemoryHub()
  const brains = await new FakeBrains(hub).start()
  const kernel = new FakeKernel('/ns/c', '/ns/d')
  kernel.uplink('eth0', '192.0.2.1/24')
  const config = wiringConfig.parse({ runDir: join(tmpdir(), `heddle-fake-${randomId()}`), underlay: { interface: 'eth0' }, ...settings })
  const start = async () => {
    const runtime = createRuntime({ name: 'netns-wiring', host: 'a', version: 'test', log: { level: 'silent', pretty: false } })
    const rounds = withRounds(runtime)
    wiringService.build(rounds.runtime, { bus: new MemoryBus({ hub }), kernel, card: fakeCard(kernel) }, config)
    await runtime.start()
    return { runtime, reconcile: rounds.reconcile }
  }
  let life = await start()
  t.teardown(async () => {
    await life.runtime.stop()
    rmSync(config.runDir, { recursive: true, force: true })
  })
  return {
    kernel,
    brains,
    wiring: new MemoryBus({ hub }).client(busServices.wiring, 'a'),
    fabric: fabricPath(config),
    reconcile: () => life.reconcile(),
    async restart() {
      await life.runtime.stop()
      life = await start()
    },
    stop: () => life.runtime.stop(),
  }
}

/** No card; every namespace of the kernel in memory can be looked into. */
function fakeCard(kernel: FakeKernel) {
  const namespaces = async () => [...kernel.namespaces.keys()].filter((path) => path !== 'own')
  return { sysfs: openSysfs('/no/sysfs'), surroundings: { namespaces, users: async () => new Map<string, string>(), isNamed: () => true } }
}
