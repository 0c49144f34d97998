/**
 * A network configuration list run as libcni runs it (CNI spec 1.1.0, sections 3 and 4): one configuration a plugin, with the
 * list's name and version, the capabilities it declares, and the result of the plugin before it, or of the whole ADD.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type CniCall, type CniOutcome, cniRuntime } from './cni.ts'

export interface CniAttachment {
  readonly containerId: string
  /** Path of the sandbox's network namespace; absent: it is gone. */
  readonly netns?: string
  readonly ifname: string
  /** CNI_ARGS. */
  readonly args?: string
  /** What the runtime has for plugins that declare the capability. */
  readonly capabilities?: Readonly<Record<string, unknown>>
}

export interface CniHost {
  /** Namespace the plugins run in; absent: this process's. */
  readonly netns?: string
  /** CNI_PATH. */
  readonly path: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** A `.conflist`, or a `.conf` of one plugin. */
export type CniList = Readonly<Record<string, unknown>>

type PluginConfig = Readonly<Record<string, unknown>> & { readonly type: string; readonly capabilities?: Readonly<Record<string, boolean>> }

/** A plugin refused its part. */
export class CniChainError extends Error {
  readonly plugin: string
  readonly outcome: CniOutcome

  constructor(plugin: string, command: string, outcome: CniOutcome) {
    super(`${command} of ${plugin}: exit code ${outcome.exitCode}: ${outcome.stdout}${outcome.stderr}`)
    this.plugin = plugin
    this.outcome = outcome
  }
}

interface Cached {
  readonly attachment: CniAttachment
  readonly result: unknown
}

export function cniChain(list: CniList, host: CniHost) {
  const name = String(list['name'])
  const cniVersion = String(list['cniVersion'] ?? '0.1.0')
  const plugins = (list['plugins'] ?? [list]) as readonly PluginConfig[]
  const cache = new Map<string, Cached>()
  const keyOf = ({ containerId, ifname }: CniAttachment) => `${name}-${containerId}-${ifname}`

  async function ask(plugin: PluginConfig, command: CniCall['command'], attachment: Partial<CniAttachment>, more: object): Promise<unknown> {
    const { capabilities = {}, ...own } = plugin
    const declared = Object.entries(attachment.capabilities ?? {}).filter(([capability]) => capabilities[capability] === true)
    const runtimeConfig = declared.length === 0 ? {} : { runtimeConfig: Object.fromEntries(declared) }
    const config = { ...own, ...(plugin.capabilities === undefined ? {} : { capabilities }), name, cniVersion, ...runtimeConfig, ...more }
    const outcome = await runnerOf(plugin.type, host)({ ...attachment, command, config })
    if (outcome.exitCode !== 0) throw new CniChainError(plugin.type, command, outcome)
    return outcome.json
  }

  const since = (version: string) => cniVersion >= version
  const finalOf = (attachment: CniAttachment) => {
    const cached = cache.get(keyOf(attachment))
    return cached === undefined || !since('0.4.0') ? {} : { prevResult: cached.result }
  }

  const runtime = {
    /** The result of the last plugin. Like libcni it leaves what a failed ADD made to the DEL that follows. */
    async add(attachment: CniAttachment): Promise<any> {
      let result: unknown
      for (const plugin of plugins) result = await ask(plugin, 'ADD', attachment, result === undefined ? {} : { prevResult: result })
      cache.set(keyOf(attachment), { attachment, result })
      return result
    },
    async check(attachment: CniAttachment): Promise<void> {
      for (const plugin of plugins) await ask(plugin, 'CHECK', attachment, finalOf(attachment))
    },
    async del(attachment: CniAttachment): Promise<void> {
      for (const plugin of plugins.toReversed()) await ask(plugin, 'DEL', attachment, finalOf(attachment))
      cache.delete(keyOf(attachment))
    },
    async status(): Promise<void> {
      for (const plugin of plugins) await ask(plugin, 'STATUS', {}, {})
    },
    /** Only these attachments are left. */
    async gc(valid: readonly CniAttachment[]): Promise<void> {
      const kept = new Set(valid.map(keyOf))
      for (const [key, { attachment }] of [...cache]) if (!kept.has(key)) await runtime.del(attachment)
      const attachments = valid.map(({ containerId, ifname }) => ({ containerID: containerId, ifname }))
      for (const plugin of plugins) await ask(plugin, 'GC', {}, { 'cni.dev/valid-attachments': attachments, 'cni.dev/attachments': attachments })
    },
    /** As a runtime that lost its cache. */
    forget(): void {
      cache.clear()
    },
  }
  return runtime
}

function runnerOf(type: string, { netns, path, env = {} }: CniHost) {
  const binary = path.map((directory) => join(directory, type)).find((candidate) => existsSync(candidate))
  if (binary === undefined) throw new Error(`there is no plugin ${type} in ${path.join(':')}`)
  const base = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', CNI_PATH: path.join(':'), ...env }
  return cniRuntime(netns === undefined ? [binary] : ['/usr/bin/nsenter', `--net=${netns}`, '--', binary], base)
}
