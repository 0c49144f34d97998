/**
 * `node test/conformance/cni/main.ts --plugin /usr/lib/cni/bridge --config FILE`: runs a CNI plugin through the rules of
 * the specification, black box, in network namespaces of its own. Needs root and iproute2. A line a rule:
 * `ok|FAIL|skip  RULE-ID  (section of SPEC.md 1.1.0)  text`. Exit code 1 when a rule fails, 2 when it could not be run.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { withLab } from '@heddle/testkit'
import { chosen, report } from '../report.ts'
import { rules } from './rules/index.ts'
import { readConfig, Subject } from './subject.ts'

const usage = `usage: main.ts --plugin PATH --config FILE [options]
  --path DIR          CNI_PATH (default: the plugin's directory)
  --ifname NAME       CNI_IFNAME (default eth0; loopback's is lo)
  --env NAME=VALUE    a further variable of the plugin; may be repeated
  --host-netns PATH   the network namespace that is the host (default: one of the suite's own)
  --link NAME         a network device of the host that the configuration names; may be repeated
  --exclusive         the configuration's device can be in one sandbox at a time
  --only PREFIX       only rules whose id begins so; may be repeated
  --json              one JSON document instead of lines
`

function fail(message: string): never {
  process.stderr.write(`${message}\n${usage}`)
  process.exit(2)
}

const repeated = { type: 'string', multiple: true, default: [] as string[] } as const
const { values } = parseArgs({
  options: {
    plugin: { type: 'string' },
    config: { type: 'string' },
    path: { type: 'string' },
    ifname: { type: 'string', default: 'eth0' },
    env: repeated,
    'host-netns': { type: 'string' },
    link: repeated,
    exclusive: { type: 'boolean', default: false },
    only: repeated,
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const { plugin, config, path, ifname, link: links, exclusive, only, json } = values
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}
if (plugin === undefined || config === undefined) fail('--plugin and --config are needed')
const options = {
  plugin: resolve(plugin),
  config: readConfig(config),
  path: path ?? resolve(plugin, '..'),
  ifname,
  env: Object.fromEntries(values.env.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)])),
  hostNetns: values['host-netns'],
  links,
  exclusive,
}
try {
  const wanted = chosen(rules, only)
  process.exitCode = await withLab(async ({ scope }) => report(wanted, await Subject.open(scope, options), { json, name: options.plugin }))
} catch (error) {
  fail(error instanceof Error ? error.message : String(error))
}
