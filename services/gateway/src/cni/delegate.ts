/**
 * Another plugin as our IPAM (CNI spec 1.1.0, section 4): executed by the launcher with our environment and our whole
 * configuration. What it gives is the endpoint's address; DEL, CHECK, STATUS and GC are forwarded.
 */
import { type Call, type Clock, HeddleError, systemClock, withCall } from '@heddle/core'
import { formatAddressPrefix, parseAddressPrefix } from '@heddle/net'
import { recoded } from '../fields.ts'
import type { Given } from '../flows/attach.ts'
import { completeRoute, familyOf } from '../flows/plan.ts'
import { asksForVf, type CniConfig } from './config.ts'
import type { CniCommand, CniEnvironment } from './environment.ts'
import { noPlugin, type PluginOutcome, pluginEnded } from './frame.ts'
import { isOwnIpam, pluginIn } from './ipam.ts'
import type { Launcher } from './launcher.ts'
import { type CniResult, parseResult, routeOf } from './result.ts'
import { checked } from './schema.ts'
import { cniVersions } from './versions.ts'

const takeBackTimeoutMs = 5000
/** What plugins older than a command say of it (CNI spec, error 4). */
const unknownCommand = 4

export type Attachment = Pick<CniEnvironment, 'containerId' | 'interfaceName' | 'netns'>

export type Result = Given & { readonly dns: CniResult['dns'] }

export class IpamDelegate {
  readonly plugin: string
  readonly #launcher: Launcher
  readonly #env: CniEnvironment
  readonly #config: CniConfig
  #added: Promise<Result> | undefined

  constructor(plugin: string, launcher: Launcher, env: CniEnvironment, config: CniConfig) {
    this.plugin = plugin
    this.#launcher = launcher
    this.#env = env
    this.#config = config
  }

  /** Asked once, whoever asks again: it would refuse a second ADD. */
  add(call: Call): Promise<Result> {
    this.#added ??= this.#add(call)
    return this.#added
  }

  /** What it gave is given back, when it was asked at all. Never fails: after a failed ADD the runtime calls DEL too. */
  async takeBack(clock: Clock = systemClock): Promise<void> {
    if (this.#added === undefined) return
    await withCall({ timeoutMs: takeBackTimeoutMs, clock }, (call) => this.del(call)).catch(() => {})
  }

  /** Succeeds when it has nothing of the attachment, as every IPAM plugin's DEL does, and when it is gone itself: nobody could ask it ever. */
  async del(call: Call, of: Attachment = this.#env): Promise<void> {
    const outcome = await this.#run('DEL', call, of)
    if (outcome.status !== noPlugin) this.#succeeded(outcome)
  }

  async check(call: Call): Promise<void> {
    this.#succeeded(await this.#run('CHECK', call))
  }

  /** A plugin of the time before the command has nothing to say to it. True when it knew it. */
  async forward(command: 'STATUS' | 'GC', call: Call): Promise<boolean> {
    const outcome = await this.#run(command, call)
    if (outcome.status !== 0 && errorOf(outcome.stdout)?.code === unknownCommand) return false
    this.#succeeded(outcome)
    return true
  }

  async #add(call: Call): Promise<Result> {
    const outcome = await this.#run('ADD', call)
    this.#succeeded(outcome)
    const { ips, routes, dns } = this.#resultOf(outcome.stdout)
    if (ips.length === 0) throw this.#failed('gave no address', 'see its configuration')
    const gateways = new Map(ips.flatMap(({ address, gateway }) => (gateway ? [[familyOf(address), gateway] as const] : [])))
    const canonical = ips.map(({ address, gateway }) => [canonicalAddress(address), gateway ?? ''] as const)
    return {
      addresses: canonical.map(([address]) => address),
      gatewayOf: new Map(canonical),
      routes: routes.map((route) => completeRoute(routeOf(route), gateways)),
      dns,
    }
  }

  #resultOf(stdout: string): CniResult {
    const json = parsed(stdout)
    const named = (json as { cniVersion?: unknown } | undefined)?.cniVersion
    const version = cniVersions.find((one) => one === named) ?? this.#config.version
    return recoded('delegate-failed', `the result of ${this.plugin}`, () => checked(() => parseResult(json, version)))
  }

  #run(command: CniCommand, call: Call, { containerId, interfaceName, netns }: Attachment = this.#env): Promise<PluginOutcome> {
    const perContainer = command === 'ADD' || command === 'DEL' || command === 'CHECK'
    const variables = perContainer ? { CNI_CONTAINERID: containerId, CNI_IFNAME: interfaceName, CNI_NETNS: netns } : {}
    const env = new Map(Object.entries({ CNI_COMMAND: command, ...variables }))
    return this.#launcher.run({ plugin: this.plugin, env, stdin: this.#config.text }, call)
  }

  #succeeded({ status, stdout }: PluginOutcome): void {
    if (status === 0) return
    if (status === noPlugin) {
      const remedy = `install ${this.plugin} in a directory of CNI_PATH`
      throw new HeddleError('invalid-argument', `ipam.type: there is no plugin ${this.plugin} in CNI_PATH`, { field: 'ipam.type', remedy })
    }
    if (status === pluginEnded) {
      throw new HeddleError('unavailable', `the IPAM plugin ${this.plugin} did not end in time`, { field: 'ipam.type', remedy: 'see what it waits for' })
    }
    const error = errorOf(stdout)
    const said = [error?.msg, error?.details].filter((text) => typeof text === 'string' && text !== '').join(': ')
    const failure = this.#failed(`failed${error === undefined ? ` with exit status ${status}` : ` with code ${error.code}`}: ${said}`, 'correct what it names')
    throw error?.code === 11 ? new HeddleError('unavailable', failure.message, { field: 'ipam', remedy: 'try again' }) : failure
  }

  #failed(what: string, remedy: string): HeddleError {
    return new HeddleError('delegate-failed', `the IPAM plugin ${this.plugin} ${what}`.slice(0, 1000), { field: 'ipam', remedy })
  }
}

/** Undefined when Heddle gives the addresses itself. What is wrong with the rest of the configuration is not said here: DEL takes any. */
export function delegateFor(env: CniEnvironment, config: CniConfig, launcher: Launcher): IpamDelegate | undefined {
  const plugin = config.isIpam || (isOwnIpam(config.json) && wantsVf(env, config)) ? undefined : pluginIn(config.json)
  return plugin === undefined ? undefined : new IpamDelegate(plugin, launcher, env, config)
}

function wantsVf({ args }: CniEnvironment, { json }: CniConfig): boolean {
  const kind = (json['heddle'] as { kind?: unknown } | null | undefined)?.kind
  try {
    return asksForVf(json, typeof kind === 'string' ? kind : undefined, args)
  } catch {
    return false
  }
}

function canonicalAddress(text: string): string {
  return recoded('delegate-failed', `address ${JSON.stringify(text.slice(0, 80))}`, () => {
    const { ip, prefix } = parseAddressPrefix(text)
    return formatAddressPrefix(ip, prefix.length)
  })
}

function errorOf(stdout: string): { readonly code: unknown; readonly msg?: unknown; readonly details?: unknown } | undefined {
  const json = parsed(stdout)
  return typeof json === 'object' && json !== null && 'code' in json ? (json as { code: unknown }) : undefined
}

function parsed(stdout: string): unknown {
  try {
    return JSON.parse(stdout)
  } catch {
    return undefined
  }
}
