/** netns-wiring: the hands. Puts the parts together; see README.md for what it owns. */
import { join } from 'node:path'
import type { Bus, Serving } from '@heddle/bus'
import { busServices } from '@heddle/contract'
import { type Kernel, type Namespace, openSysfs, type Sysfs } from '@heddle/kernel'
import type { ServiceMain } from '@heddle/runtime'
import { type WiringConfig, wiringConfig } from './config.ts'
import { bridgeRules, vxlanRules } from './domain/nft-rules.ts'
import { Endpoints } from './endpoints.ts'
import { Fabric } from './fabric.ts'
import { IptablesForwardPolicy } from './forward-policy.adapter.ts'
import { wiringHandlers } from './handlers.ts'
import { background, type HostContext } from './host-context.ts'
import { LoneHost } from './lone/host.ts'
import { HostNetworks } from './networks.ts'
import { NftTable } from './nft-table.ts'
import { NullEndpoints } from './null.ts'
import { portsInUse } from './proc.adapter.ts'
import { Publisher } from './publisher.ts'
import { Reconciler } from './reconcile.ts'
import { Registration } from './registration.ts'
import { findUnderlay, isThere, sameUnderlay } from './underlay.ts'
import { VfHost } from './vf/host.ts'
import { realSurroundings, type VfSurroundings } from './vf/surroundings.ts'
import { Ways } from './ways.ts'

export interface WiringParts {
  readonly bus: Bus
  readonly kernel: Kernel
  /** Another network namespace as the host's own: several hosts in one process (tests, labs). Default: the process's. */
  readonly hostNamespace?: Namespace
  /** A made-up card (tests). Default: what `sysfsRoot` shows. */
  readonly card?: { readonly sysfs: Sysfs; readonly surroundings: VfSurroundings }
}

/** The kernel keeps its sockets to this namespace open when it is given as a resident. */
export const fabricPath = (config: Pick<WiringConfig, 'runDir'>): string => join(config.runDir, 'netns', 'fabric')

const underlayPollMs = 2000
const startTimeoutMs = 10_000

export const wiringService: ServiceMain<WiringParts, WiringConfig> = {
  name: 'netns-wiring',
  summary: 'every kernel object of Heddle on one host',
  config: wiringConfig,
  build(runtime, { bus, kernel, hostNamespace = 'own', card }, config) {
    const { host, version, clock, logger, jobs } = runtime
    const context: HostContext = { host, version, kernel, bus, hostNs: hostNamespace, vxlanPort: config.vxlanPort, clock, logger, jobs, underlay: undefined }
    const fabric = new Fabric(kernel, fabricPath(config), (event) => reconciler.onLink(event))
    const vxlanTable = new NftTable(kernel, hostNamespace, vxlanRules(config.vxlanPort))
    const bridgeTable = new NftTable(kernel, hostNamespace, bridgeRules())
    const forwardPolicy = new IptablesForwardPolicy(hostNamespace)
    const networks = new HostNetworks({
      context,
      fabric,
      vxlanTable,
      bridgeTable,
      forwardPolicy,
      lingerMs: config.lingerMs,
      onDrift: (networkId) => reconciler.soon(networkId),
    })
    const publisher = new Publisher(bridgeTable, (call) => portsInUse(hostNamespace, call))
    const endpoints = new Endpoints(context, networks, fabric, publisher)
    const registration = new Registration(context)
    const { sysfs, surroundings } = card ?? { sysfs: openSysfs(config.sysfsRoot), surroundings: realSurroundings }
    const vfs = new VfHost(context, sysfs, config, surroundings)
    const lone = new LoneHost(context, {
      sysfs,
      namespaces: surroundings.namespaces,
      vfOwner: (pci) => vfs.parts.reporter.claim(pci)?.owner,
      graceMs: config.orphanGraceMs,
    })
    const nulls = new NullEndpoints(kernel)
    const parts = { context, fabric, networks, endpoints, vfs, lone, nulls, publisher, vxlanTable, bridgeTable, forwardPolicy, registration }
    const reconciler: Reconciler = new Reconciler({ ...parts, graceMs: config.orphanGraceMs })

    const lookAtUnderlay = (signal: AbortSignal, when: 'always' | 'unless it is there' = 'always') =>
      background(context, startTimeoutMs, signal, async (call) => {
        if (when !== 'always' && context.underlay !== undefined && (await isThere(kernel, hostNamespace, context.underlay, call))) return
        const found = await findUnderlay(kernel, hostNamespace, config.underlay, call)
        if (sameUnderlay(found, context.underlay)) return
        // An address that is gone for a moment takes nothing down; the devices keep their last one.
        if (found === undefined) return logger.warn('the underlay address is gone')
        context.underlay = found
        registration.changed()
        for (const networkId of networks.present.keys()) reconciler.soon(networkId)
      })

    runtime.check('wiring.records', () => ({
      ok: reconciler.informed,
      message: reconciler.informed ? 'records read' : 'the networks service has not answered yet',
    }))
    let serving: Serving | undefined
    let watch: { close(): void } | undefined
    runtime.hook({
      name: 'netns-wiring',
      async start(signal) {
        await lookAtUnderlay(signal)
        await background(context, startTimeoutMs, signal, (call) => reconciler.adopt(call))
        // Spawns nft when they are not there, so that no attach has to. One that fails here is tried again when it is needed.
        for (const table of [vxlanTable, bridgeTable]) {
          await background(context, startTimeoutMs, signal, (call) => table.read(call)).catch((error: unknown) =>
            logger.warn({ err: error }, 'an nftables table could not be loaded'),
          )
        }
        await background(context, startTimeoutMs, signal, (call) => vfs.start(call))
        watch = kernel.watchLinks(hostNamespace, (event) => {
          reconciler.onLink(event)
          vfs.onLink(event.name)
        })
        serving = await bus.serve(busServices.wiring, wiringHandlers({ ...parts, ways: new Ways(parts), orphans: (call) => reconciler.orphans(call) }), {
          host,
        })
        jobs.every('underlay', underlayPollMs, (jobSignal) => lookAtUnderlay(jobSignal, 'unless it is there'))
        jobs.every('choice of the underlay', config.reconcileMs, (jobSignal) => lookAtUnderlay(jobSignal))
        jobs.once('registration', (jobSignal) => registration.run(jobSignal))
        jobs.once('adoption', (jobSignal) => reconciler.untilInformed(jobSignal))
        jobs.every('reconcile', config.reconcileMs, (jobSignal) => reconciler.round(jobSignal))
      },
      async stop() {
        await serving?.stop()
        watch?.close()
        vfs.stop()
        networks.close()
        fabric.close()
      },
    })
  },
}
