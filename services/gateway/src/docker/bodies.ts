/** Bodies of Docker's plugin requests as Go writes them: keys in exact case, any map or list may be null. */
import { z } from 'zod'

const opaqueId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/, 'is not an id')
const poolId = z.string().min(1, 'is empty').max(256)
const text = z
  .string()
  .max(1024)
  .nullish()
  .transform((value) => value ?? '')
const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false)
const options = z
  .record(z.string(), z.unknown())
  .nullish()
  .transform((value) => value ?? {})
const texts = z
  .record(z.string(), z.string())
  .nullish()
  .transform((value) => value ?? {})
const ipamData = z
  .array(z.object({ AddressSpace: text, Pool: text, Gateway: text, AuxAddresses: texts }))
  .nullish()
  .transform((value) => value ?? [])
const endpoint = z.object({ NetworkID: opaqueId, EndpointID: opaqueId })

export const bodies = {
  options: z.object({ Options: options }),
  allocateNetwork: z.object({ NetworkID: opaqueId, Options: texts, IPv4Data: ipamData, IPv6Data: ipamData }),
  network: z.object({ NetworkID: opaqueId }),
  createNetwork: z.object({ NetworkID: opaqueId, Options: options, IPv4Data: ipamData, IPv6Data: ipamData }),
  endpoint,
  createEndpoint: endpoint.extend({
    Interface: z
      .object({ Address: text, AddressIPv6: text, MacAddress: text })
      .nullish()
      .transform((value) => value ?? { Address: '', AddressIPv6: '', MacAddress: '' }),
    Options: options,
  }),
  join: endpoint.extend({ SandboxKey: text, Options: options }),
  externalConnectivity: endpoint.extend({ Options: options }),
  discover: z.object({
    DiscoveryType: z.number().int(),
    // The documentation writes `self`, the engine `Self`.
    DiscoveryData: z.object({ Address: text, BindAddress: text, Self: flag, self: flag }).nullish(),
  }),
  requestPool: z.object({ AddressSpace: text, Pool: text, SubPool: text, Options: texts, V6: flag }),
  pool: z.object({ PoolID: poolId }),
  requestAddress: z.object({ PoolID: poolId, Address: text, Options: texts }),
  releaseAddress: z.object({ PoolID: poolId, Address: text }),
} as const

export type Body<K extends keyof typeof bodies> = z.output<(typeof bodies)[K]>
export type IpamData = z.output<typeof ipamData>[number]

const mapping = z.object({
  Proto: z.number(),
  Port: z.number().int().min(1).max(65_535),
  HostIP: text,
  HostPort: z.number().int().min(0).max(65_535).nullish(),
  HostPortEnd: z.number().int().min(0).max(65_535).nullish(),
})

/** `com.docker.network.portmap` of CreateEndpoint, Join and ProgramExternalConnectivity. */
export const portMap = z
  .array(mapping)
  .nullish()
  .transform((value) => value ?? [])
