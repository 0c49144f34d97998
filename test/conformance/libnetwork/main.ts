/**
 * Proves a Docker network or IPAM plugin against libnetwork's remote driver protocol, from outside: a line a rule, with the
 * section it comes from. Makes networks of its own and removes them. Exit code 0: none failed, 1: some did, 2: it could not begin.
 */
import { parseArgs } from 'node:util'
import { chosen, report } from '../report.ts'
import { Plugin, refusalOf } from './plugin.ts'
import { rules, ruleTable } from './rules/index.ts'
import type { Subject } from './stage.ts'

const usage = `usage: node test/conformance/libnetwork/main.ts --socket PATH [options]
  --socket PATH        socket of the plugin (also http://host:port)
  --kind KIND          short for --opt kind=KIND
  --opt NAME=VALUE     an option of every network, as docker network create -o; may be given several times
  --ipam-opt NAME=VALUE  the same for --ipam-opt
  --subnets A.B        networks are A.B.0.0/24 to A.B.255.0/24 (10.210)
  --links              this runs in the engine's network namespace: look at the interfaces too
  --only ID            rules whose id begins so; may be given several times
  --timeout MS         for an answer (15000)
  --json               one document instead of lines
  --rules              print the rules as a table (docs/conformance-libnetwork.md) and prove none`

const options = {
  socket: { type: 'string' },
  kind: { type: 'string' },
  opt: { type: 'string', multiple: true },
  'ipam-opt': { type: 'string', multiple: true },
  subnets: { type: 'string', default: '10.210' },
  links: { type: 'boolean', default: false },
  only: { type: 'string', multiple: true },
  timeout: { type: 'string', default: '15000' },
  json: { type: 'boolean', default: false },
  rules: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

async function main(): Promise<number> {
  const { values } = parseArgs({ options })
  if (values.rules || values.help) {
    process.stdout.write(values.help ? `${usage}\n` : ruleTable())
    return 0
  }
  if (values.socket === undefined) throw new Error('--socket is missing')
  const wanted = chosen(rules, values.only ?? [])
  const plugin = new Plugin(values.socket, Number(values.timeout))
  try {
    const given = pairs(values.opt ?? [])
    const subject = await subjectOf(plugin, {
      options: values.kind === undefined ? given : { kind: values.kind, ...given },
      ipamOptions: pairs(values['ipam-opt'] ?? []),
      links: values.links,
      nextSubnet: subnets(values.subnets),
    })
    return await report(wanted, subject, { json: values.json, name: values.socket })
  } finally {
    plugin.close()
  }
}

async function subjectOf(plugin: Plugin, given: Pick<Subject, 'options' | 'ipamOptions' | 'links' | 'nextSubnet'>): Promise<Subject> {
  const activated = await plugin.call('Plugin.Activate')
  const listed: unknown = activated.json?.Implements
  const services = Array.isArray(listed) ? listed : []
  const capabilities = services.includes('NetworkDriver') ? await plugin.call('NetworkDriver.GetCapabilities') : undefined
  const scope = capabilities === undefined || refusalOf('', capabilities) !== undefined ? undefined : capabilities.json?.Scope
  return { plugin, implements: services, scope, ...given }
}

function subnets(base: string): () => string {
  if (!/^\d+\.\d+$/.test(base)) throw new Error(`--subnets ${base} is not like 10.210`)
  let third = 0
  return () => `${base}.${third++ % 256}.0/24`
}

function pairs(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? []
      if (name === undefined || value === undefined) throw new Error(`${text} is not NAME=VALUE`)
      return [name, value]
    }),
  )
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n${usage}\n`)
  process.exitCode = 2
}
