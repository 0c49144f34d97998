/** The `heddle` object of a configuration: the network as it is to be, in the spelling of the public API. */
import { z } from 'zod'
import { count, only, text, texts } from './schema.ts'

const subnetSchema = z.union([
  text.transform((prefix) => ({ prefix })),
  only({
    prefix: text,
    ranges: z.array(only({ first: text, last: text })).optional(),
    gateway: text.optional(),
    excluded: texts.optional(),
    auxiliary: z.record(text, text).optional(),
  }),
])

/** VfSelector. */
export const selectorSchema = only({
  vendors: texts.optional(),
  devices: texts.optional(),
  drivers: texts.optional(),
  pciAddresses: texts.optional(),
  pfNames: texts.optional(),
  linkTypes: texts.optional(),
  numaNodes: z.array(z.number().int()).max(256).optional(),
  hosts: texts.optional(),
  rdma: z.boolean().optional(),
  vdpa: z.boolean().optional(),
})

/** SriovNetwork. A MAC is not among its settings: it is one endpoint's. */
const sriovSchema = only({
  pool: text.optional(),
  selector: selectorSchema.optional(),
  settings: only({
    vlan: count.optional(),
    vlanQos: count.optional(),
    vlanProto: text.optional(),
    spoofchk: z.boolean().optional(),
    trust: z.boolean().optional(),
    minTxRate: count.optional(),
    maxTxRate: count.optional(),
    linkState: text.optional(),
    trunk: z.array(only({ first: count, last: count })).optional(),
    mtu: count.optional(),
  }).optional(),
  policy: text.optional(),
  driver: text.optional(),
  apart: z.boolean().optional(),
  near: text.optional(),
})

/** ParentLink; a name alone is its name. */
const parentSchema = z.union([
  text.transform((name) => ({ name })),
  only({ name: text.optional(), mode: text.optional(), vlan: count.optional(), mac: text.optional(), pci: text.optional() }),
])

/** BridgeNetwork. */
const bridgeSchema = only({ isolated: z.boolean().optional(), routed: z.boolean().optional(), hostBinding: text.optional() })

export const definitionSchema = only({
  kind: text.optional(),
  subnets: z.array(subnetSchema).max(64).optional(),
  mtu: count.optional(),
  vni: count.optional(),
  internal: z.boolean().optional(),
  options: z.record(text, text).optional(),
  parent: parentSchema.optional(),
  bridge: bridgeSchema.optional(),
  sriov: sriovSchema.optional(),
})
