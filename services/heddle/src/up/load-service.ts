/** Loads a service's code, and nothing of the others': a host's process stays free of etcd's client. */
import { join } from 'node:path'
import type { Bus } from '@heddle/bus'
import type { Runtime } from '@heddle/runtime'
import type { Store } from '@heddle/store'
import type { z } from 'zod'
import type { ServiceName } from './catalogue.ts'

/** One of each a process, shared by its services. */
export interface SharedParts {
  readonly bus: Bus
  /** There when a brain was chosen. */
  readonly store: Store | undefined
}

export interface LoadedService {
  readonly name: ServiceName
  readonly summary: string
  readonly config: z.ZodType
  /** Builds it into the runtime; answers how to free what only it had. */
  build(runtime: Runtime, parts: SharedParts, section: unknown): Promise<(() => Promise<void>) | undefined>
}

export async function loadService(name: ServiceName): Promise<LoadedService> {
  switch (name) {
    case 'ipam':
      return brain(name, (await import('@heddle/ipam')).ipamService)
    case 'networks':
      return brain(name, (await import('@heddle/networks')).networksService)
    case 'overlay':
      return brain(name, (await import('@heddle/overlay')).overlayService)
    case 'vf-allocator':
      return brain(name, (await import('@heddle/vf-allocator')).vfAllocatorService)
    case 'netns-wiring': {
      const [{ wiringService }, { openKernel }] = await Promise.all([import('@heddle/netns-wiring'), import('@heddle/kernel')])
      return {
        name,
        summary: wiringService.summary,
        config: wiringService.config,
        async build(runtime, { bus }, section) {
          const config = wiringService.config.parse(section)
          // The fabric namespace has all the devices of overlay networks: its sockets stay open.
          const kernel = openKernel({
            residents: [join(config.runDir, 'netns/fabric')],
            onRestart: (reason) => runtime.logger.error({ err: reason }, 'the netlink thread died and was started again'),
          })
          wiringService.build(runtime, { bus, kernel }, config)
          return () => kernel.close()
        },
      }
    }
    case 'gateway': {
      const { gatewayService } = await import('@heddle/gateway')
      return {
        name,
        summary: gatewayService.summary,
        config: gatewayService.config,
        async build(runtime, { bus }, section) {
          gatewayService.build(runtime, { bus }, gatewayService.config.parse(section))
          return undefined
        },
      }
    }
  }
}

interface BrainMain {
  readonly summary: string
  readonly config: z.ZodType
  build(runtime: Runtime, parts: { readonly bus: Bus; readonly store: Store }, config: any): void
}

function brain(name: ServiceName, service: BrainMain): LoadedService {
  return {
    name,
    summary: service.summary,
    config: service.config,
    async build(runtime, { bus, store }, section) {
      if (store === undefined) throw new TypeError(`${name} needs a store`)
      service.build(runtime, { bus, store }, section)
      return undefined
    },
  }
}
