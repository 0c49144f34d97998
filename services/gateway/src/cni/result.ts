/** A CNI result in the newest shape, and to and from the JSON of each version (CNI spec, section "Result Types"). */
import type { Route } from '@heddle/contract'
import { HeddleError } from '@heddle/core'
import { z } from 'zod'
import { ipField, prefixField } from '../fields.ts'
import { type CniVersion, type ResultShape, shapeOf } from './versions.ts'

const interfaceSchema = z.object({
  name: z.string(),
  mac: z.string().optional(),
  mtu: z.number().optional(),
  sandbox: z.string().optional(),
  socketPath: z.string().optional(),
  pciID: z.string().optional(),
})
const ipSchema = z.object({ address: z.string(), gateway: z.string().optional(), interface: z.number().int().optional() })
const u32 = z.number().int().min(0).max(0xffff_ffff).nullish()
const routeSchema = z.object({
  dst: z.string(),
  gw: z.string().nullish(),
  mtu: u32,
  advmss: u32,
  priority: u32,
  table: u32,
  scope: z.number().int().min(0).max(255).nullish(),
})
const orEmpty = <T extends z.ZodType>(schema: T) =>
  z
    .array(schema)
    .nullish()
    .transform((list) => list ?? [])
const dnsSchema = z
  .object({
    nameservers: z.array(z.string()).optional(),
    domain: z.string().optional(),
    search: z.array(z.string()).optional(),
    options: z.array(z.string()).optional(),
  })
  .nullish()
  .transform((dns) => dns ?? {})
const legacyIpSchema = z.object({ ip: z.string(), gateway: z.string().optional(), routes: orEmpty(routeSchema) }).nullish()

export const resultSchema = z.object({ interfaces: orEmpty(interfaceSchema), ips: orEmpty(ipSchema), routes: orEmpty(routeSchema), dns: dnsSchema })
const legacySchema = z.object({ ip4: legacyIpSchema, ip6: legacyIpSchema, dns: dnsSchema })

export { dnsSchema, routeSchema }

export type CniResult = z.output<typeof resultSchema>

/** `prevResult` of a chain, in the version of the configuration it came in. Throws ZodError. */
export function parseResult(json: unknown, version: CniVersion): CniResult {
  if (!shapeOf(version).legacy) return resultSchema.parse(json)
  const { ip4, ip6, dns } = legacySchema.parse(json)
  const both = [ip4, ip6].flatMap((one) => (one === null || one === undefined ? [] : [one]))
  return {
    interfaces: [],
    ips: both.map(({ ip, gateway }) => ({ address: ip, ...(gateway === undefined ? {} : { gateway }) })),
    routes: both.flatMap(({ routes }) => routes),
    dns,
  }
}

/** The JSON of a version. What the version cannot say is left out; a legacy result needs an address. */
export function serializeResult(result: CniResult, version: CniVersion): Record<string, unknown> {
  const shape = shapeOf(version)
  const dns = Object.keys(result.dns).length > 0 ? { dns: result.dns } : {}
  if (shape.legacy) return { cniVersion: version, ...legacyIps(result, shape), ...dns }
  return {
    cniVersion: version,
    interfaces: result.interfaces.map((one) => pick(one, shape.interfaceKeys)),
    ips: result.ips.map((ip) => (shape.ipVersion ? { version: isV6(ip.address) ? '6' : '4', ...ip } : ip)),
    ...(result.routes.length > 0 ? { routes: result.routes.map((route) => pick(route, shape.routeKeys)) } : {}),
    ...dns,
  }
}

/** What an IPAM plugin answers: no interfaces. */
export function serializeIpam(result: CniResult, version: CniVersion): Record<string, unknown> {
  const { interfaces: _, ...rest } = serializeResult(result, version)
  return rest
}

/** A route as the hands take it. Fails with invalid-argument. */
export function routeOf({ dst, gw, ...more }: z.output<typeof routeSchema>): Route {
  const fields = Object.entries(more).filter(([, value]) => value !== undefined && value !== null)
  return { destination: prefixField(dst, 'routes.dst'), gateway: gw ? ipField(gw, 'routes.gw') : '', ...Object.fromEntries(fields) }
}

/** And back. */
export function routeResult({ destination, gateway, ...more }: Route): CniResult['routes'][number] {
  return { dst: destination, ...(gateway === '' ? {} : { gw: gateway }), ...more }
}

/** Ours after what earlier plugins of the chain made. */
export function mergeResults(before: CniResult, ours: CniResult): CniResult {
  const offset = before.interfaces.length
  return {
    interfaces: [...before.interfaces, ...ours.interfaces],
    ips: [...before.ips, ...ours.ips.map((ip) => (ip.interface === undefined ? ip : { ...ip, interface: ip.interface + offset }))],
    routes: [...before.routes, ...ours.routes],
    dns: Object.keys(before.dns).length > 0 ? before.dns : ours.dns,
  }
}

function legacyIps(result: CniResult, shape: ResultShape): Record<string, unknown> {
  const families = [
    { key: 'ip4', isIn: (address: string) => !isV6(address) },
    { key: 'ip6', isIn: isV6 },
  ].flatMap(({ key, isIn }) => {
    const ip = result.ips.find((one) => isIn(one.address))
    if (ip === undefined) return []
    const routes = result.routes.filter((route) => isIn(route.dst)).map((route) => pick(route, shape.routeKeys))
    return [[key, { ip: ip.address, ...(ip.gateway === undefined ? {} : { gateway: ip.gateway }), ...(routes.length > 0 ? { routes } : {}) }] as const]
  })
  if (families.length === 0) throw noLegacyResult()
  return Object.fromEntries(families)
}

export function noLegacyResult(): HeddleError {
  return new HeddleError('incompatible-cni-version', 'a network without addresses has no result in CNI 0.1.0 and 0.2.0', {
    field: 'cniVersion',
    remedy: 'set cniVersion to 1.1.0',
  })
}

function isV6(address: string): boolean {
  return address.includes(':')
}

function pick(from: object, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(from).filter(([key, value]) => keys.includes(key) && value !== undefined && value !== null))
}
