/**
 * containerd writes what it hands over for a capability with the field names of its Go structs (`HostPort`, `IngressRate`,
 * `Servers`: github.com/containerd/go-cni, types.go), and the plugins written in Go read any case. The conventions
 * (CNI CONVENTIONS.md, "Dynamic Plugin specific fields") spell them as below.
 */

const capabilities = ['portMappings', 'bandwidth', 'dns', 'ipRanges'] as const
const keys = [
  ...['hostPort', 'containerPort', 'protocol', 'hostIP'],
  ...['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'],
  ...['servers', 'searches', 'options'],
  ...['subnet', 'rangeStart', 'rangeEnd', 'gateway'],
]
const conventional = new Map(keys.map((key) => [key.toLowerCase(), key]))

type Json = Readonly<Record<string, unknown>>

/** The configuration with the values of those capabilities spelled as the conventions have them. */
export function spelled(config: Json): Json {
  const runtime = config['runtimeConfig']
  if (!isObject(runtime)) return config
  const given = capabilities.filter((name) => name in runtime)
  if (given.length === 0) return config
  return { ...config, runtimeConfig: { ...runtime, ...Object.fromEntries(given.map((name) => [name, spell(runtime[name])])) } }
}

function spell(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(spell)
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [conventional.get(key.toLowerCase()) ?? key, spell(inner)]))
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
