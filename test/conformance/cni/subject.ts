/** The plugin on trial: how it is called, the host it runs on, and what it says of itself. */
import { readFileSync } from 'node:fs'
import { type CniOutcome, type CniRuntime, cniRuntime, type LabScope, run } from '@heddle/testkit'
import { ip, linksOf } from './kernel.ts'
import { type CniVersion, cniVersions, isAtLeast, isKnown } from './versions.ts'

export interface SubjectOptions {
  /** Path of the plugin's executable. */
  readonly plugin: string
  /** Its network configuration; `cniVersion` is set call by call. */
  readonly config: Readonly<Record<string, unknown>>
  /** CNI_PATH. */
  readonly path: string
  /** CNI_IFNAME. */
  readonly ifname: string
  /** Further variables. */
  readonly env: Readonly<Record<string, string>>
  /** Path of the namespace that is the host; one of the suite's own when missing. */
  readonly hostNetns?: string | undefined
  /** Links that the host has, as the configuration names them: each one end of a veth pair, made anew when the plugin used it up. */
  readonly links: readonly string[]
  /** The configuration's device can be in one sandbox at a time. */
  readonly exclusive: boolean
}

let namespaces = 0

export class Subject {
  readonly options: SubjectOptions
  readonly host: string
  readonly call: CniRuntime
  /** For removing what a rule has made, also where `call` is a broken plugin's. */
  readonly cleanUp: CniRuntime
  /** As VERSION answers; when it does not, that of the configuration. */
  readonly versions: readonly CniVersion[]
  /** The newest of them: rules that say nothing of versions are tried in it. */
  readonly version: CniVersion
  /** Links of the host that stay when its last container has gone. */
  readonly shared: ReadonlySet<string>

  private constructor(from: Omit<Subject, 'with' | 'config' | 'ensureLinks'>) {
    this.options = from.options
    this.host = from.host
    this.call = from.call
    this.cleanUp = from.cleanUp
    this.versions = from.versions
    this.version = from.version
    this.shared = from.shared
  }

  static async open(scope: Pick<LabScope, 'defer'>, options: SubjectOptions): Promise<Subject> {
    const host = options.hostNetns ?? (await ownHost(scope))
    const base = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', CNI_PATH: options.path, ...options.env }
    const call = cniRuntime(['/usr/bin/nsenter', `--net=${host}`, '--', options.plugin], base)
    const versions = versionsIn(await call({ command: 'VERSION', config: { cniVersion: '1.0.0' } }), options.config['cniVersion'])
    const version = versions.toSorted((a, b) => (isAtLeast(a, b) ? 1 : -1)).at(-1) ?? '1.0.0'
    const parts = { options, host, call, cleanUp: call, versions, version }
    const shared = await linksThatStay(new Subject({ ...parts, shared: new Set() }))
    return new Subject({ ...parts, shared })
  }

  /** The same plugin, called in another way. */
  with(call: CniRuntime): Subject {
    return new Subject({ ...this, call })
  }

  /** Its configuration in a version. */
  config(more: Readonly<Record<string, unknown>> = {}, version: string = this.version): Record<string, unknown> {
    return { name: 'conformance', ...this.options.config, cniVersion: version, ...more }
  }

  async ensureLinks(): Promise<void> {
    if (this.options.links.length === 0) return
    const there = new Set((await linksOf(this.host)).map(({ name }) => name))
    const inHost = (...args: string[]) => ip(this.host, 'link', ...args)
    for (const name of this.options.links) {
      if (there.has(name)) continue
      const peer = `${name}-wire`
      // The kernel may be taking it away already, with the sandbox that its other end was in.
      if (there.has(peer)) await inHost('delete', peer).catch(() => '')
      await inHost('add', name, 'type', 'veth', 'peer', 'name', peer)
      await inHost('set', peer, 'up')
      await inHost('set', name, 'up')
    }
  }
}

/** A namespace of this process, and how it is unmade. */
async function newNamespace(purpose: string): Promise<{ readonly path: string; readonly remove: () => Promise<unknown> }> {
  const name = `hdconf-${process.pid}-${purpose}${++namespaces}`
  await run(['ip', 'netns', 'add', name])
  return { path: `/run/netns/${name}`, remove: () => run(['ip', 'netns', 'delete', name]) }
}

async function ownHost(scope: Pick<LabScope, 'defer'>): Promise<string> {
  const { path, remove } = await newNamespace('host')
  scope.defer(path, remove)
  await ip(path, 'link', 'set', 'lo', 'up')
  return path
}

function versionsIn({ json }: CniOutcome, configured: unknown): readonly CniVersion[] {
  const listed = Array.isArray(json?.supportedVersions) ? (json.supportedVersions as unknown[]).filter(isKnown) : []
  if (listed.length > 0) return listed
  return isKnown(configured) ? [configured] : [...cniVersions]
}

/** A container comes and goes before the first rule: what is on the host after that belongs to the network. */
async function linksThatStay(subject: Subject): Promise<ReadonlySet<string>> {
  await subject.ensureLinks()
  const { path, remove } = await newNamespace('warm')
  const call = { containerId: 'warm-up', netns: path, ifname: subject.options.ifname, config: subject.config() } as const
  try {
    await subject.call({ command: 'ADD', ...call })
    await subject.call({ command: 'DEL', ...call })
  } finally {
    await remove()
  }
  return new Set((await linksOf(subject.host)).map((link) => link.name))
}

/** The configuration in a file: a plugin's own, or the first of a list. */
export function readConfig(file: string): Record<string, unknown> {
  const json = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  const [first] = Array.isArray(json['plugins']) ? (json['plugins'] as Record<string, unknown>[]) : []
  return first === undefined ? json : { name: json['name'], cniVersion: json['cniVersion'], ...first }
}
