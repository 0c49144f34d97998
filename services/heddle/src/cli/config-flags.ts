/** Flags that are settings: each becomes an `a.b=value` of the configuration, after file and environment. */
import type { Command } from 'commander'
import type { UpSources } from '../up/config.ts'

export interface ConfigFlags {
  readonly config?: string
  readonly set?: readonly string[]
  readonly services?: string
  readonly nats?: readonly string[]
  readonly etcd?: readonly string[]
  readonly [flag: string]: unknown
}

const settings = {
  services: 'services',
  host: 'host',
  nats: 'nats.servers',
  etcd: 'etcd.endpoints',
  runDir: 'runDir',
  dataDir: 'dataDir',
  listen: 'embedded.listen',
  logLevel: 'log.level',
  otlp: 'otlp.endpoint',
} as const

export function addConfigOptions(command: Command): Command {
  return command
    .option('--config <file>', 'YAML or JSON file (also HEDDLE_CONFIG)')
    .option('--services <names>', 'services to run: ipam, networks, overlay, vf-allocator, netns-wiring, gateway; or brains, host, all')
    .option('--host <name>', 'name of this host in the cluster')
    .option('--nats <url>', 'NATS server; may be given several times', collect)
    .option('--etcd <url>', 'etcd endpoint; may be given several times', collect)
    .option('--run-dir <dir>', 'sockets and namespaces')
    .option('--data-dir <dir>', 'state of the embedded servers')
    .option('--listen <address>', 'address the embedded servers listen on')
    .option('--log-level <level>', 'trace, debug, info, warn, error, fatal or silent')
    .option('--pretty', 'log lines for people instead of JSON')
    .option('--otlp <url>', 'send spans to this OTLP/HTTP collector')
    .option('--set <path=value>', 'any setting of `heddle config print`, e.g. --set ipam.graceMs=30000', collect)
}

export function sourcesOf(flags: ConfigFlags): UpSources {
  const given = Object.entries(settings).flatMap(([flag, path]) => {
    const value = flags[flag]
    return value === undefined ? [] : [`${path}=${Array.isArray(value) ? value.join(',') : String(value)}`]
  })
  if (flags['pretty'] === true) given.push('log.pretty=true')
  return { file: flags.config ?? (process.env['HEDDLE_CONFIG'] || undefined), env: process.env, flags: [...given, ...(flags.set ?? [])] }
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}
