/**
 * The configuration of `heddle up`: what every process can be told, what only the roof knows, and a section for each
 * chosen service. A file may hold sections of services that run elsewhere; they are not looked at.
 */
import { redactServer } from '@heddle/bus'
import { baseConfig, type ConfigSources, loadConfig } from '@heddle/runtime'
import { z } from 'zod'
import { catalogue, chosenServices, type ServiceName, serviceNames } from './catalogue.ts'
import { type LoadedService, loadService } from './load-service.ts'

const roofConfig = baseConfig.extend({
  /** State of the embedded servers. */
  dataDir: z.string().startsWith('/', 'use an absolute path').default('/var/lib/heddle'),
  /** Names of services, or `brains`, `host`, `all`. */
  services: z.array(z.string()).default(['all']),
  embedded: z
    .strictObject({
      /** Address the embedded NATS and etcd listen on; another than loopback opens them to that network. */
      listen: z.string().default('127.0.0.1'),
      /** 0: a free one, kept in the state directory for the next start. */
      natsPort: z.int().min(0).max(65_535).default(0),
      etcdPort: z.int().min(0).max(65_535).default(0),
    })
    .prefault({}),
})

export type RoofConfig = z.infer<typeof roofConfig>

/** Of the `heddle` command and of the CNI launcher, which share this process's environment. */
const notSettings = ['HEDDLE_SOCKET', 'HEDDLE_CNI_SOCKET', 'HEDDLE_CNI_TIMEOUT_MS']

export interface UpConfig {
  readonly roof: RoofConfig
  readonly services: readonly LoadedService[]
  /** Everything as one tree, for `heddle config print`: passwords are not in it. */
  readonly effective: Readonly<Record<string, unknown>>
}

export type UpSources = Pick<ConfigSources, 'file' | 'env' | 'flags'>

/** Twice over the same sources: first for which services are wanted, then with their sections. */
export async function loadUpConfig(sources: UpSources): Promise<UpConfig> {
  const names = chosenServices((await load(sources, [])).services)
  const services = await Promise.all(names.map((name) => loadService(name)))
  const effective = await load(sources, services)
  const nats = { ...effective.nats, servers: effective.nats.servers.map(redactServer) }
  return { roof: effective, services, effective: { ...effective, nats, services: names } }
}

/** A service's part of what was loaded; sockets and namespaces of all of them live in the one run directory. */
export function sectionOf(config: UpConfig, name: ServiceName): Readonly<Record<string, unknown>> {
  const section = (config.effective[catalogue[name].section] ?? {}) as Readonly<Record<string, unknown>>
  return { ...section, runDir: config.roof.runDir }
}

async function load(sources: UpSources, services: readonly LoadedService[]): Promise<RoofConfig & Readonly<Record<string, unknown>>> {
  const shape: Record<string, z.ZodType> = {}
  const elsewhere: string[] = []
  for (const name of serviceNames) {
    const { section } = catalogue[name]
    const service = services.find((each) => each.name === name)
    if (service === undefined) elsewhere.push(section)
    shape[section] = service === undefined ? z.unknown().optional() : withoutRunDir(service.config).prefault({})
  }
  const elsewhereVariables = elsewhere.map((section) => `HEDDLE_${section.toUpperCase()}_`)
  const env = Object.fromEntries(Object.entries(sources.env ?? {}).filter(([name]) => !elsewhereVariables.some((prefix) => name.startsWith(prefix))))
  const flags = (sources.flags ?? []).filter((flag) => !elsewhere.some((section) => flag.startsWith(`${section}.`)))
  const loaded = await loadConfig(roofConfig.extend(shape), { file: sources.file, env, flags, ignoreEnv: notSettings })
  return loaded as RoofConfig & Readonly<Record<string, unknown>>
}

function withoutRunDir(schema: z.ZodType): z.ZodType {
  return schema instanceof z.ZodObject && 'runDir' in schema.shape ? schema.omit({ runDir: true }) : schema
}
