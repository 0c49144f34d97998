/** Flags of `vf pool create` as a request: one selector, whose lists are alternatives. */
import { PutVfPoolRequest } from '@heddle/contract'
import { invalid } from '@heddle/core'

export interface VfPoolFlags {
  readonly pf?: readonly string[]
  readonly pci?: readonly string[]
  readonly vendor?: readonly string[]
  readonly device?: readonly string[]
  readonly vfDriver?: readonly string[]
  readonly linkType?: readonly string[]
  readonly numa?: readonly string[]
  readonly on?: readonly string[]
  readonly rdma?: boolean
  readonly vdpa?: boolean
  readonly policy?: string
  readonly bind?: string
  readonly resource?: string
}

/** Throws HeddleError `invalid-argument` with the flag as its field. */
export function vfPoolRequest(name: string, flags: VfPoolFlags): PutVfPoolRequest {
  const numaNodes = (flags.numa ?? []).map((text) => {
    if (!/^(-1|\d{1,4})$/.test(text)) throw invalid('--numa', `${JSON.stringify(text)} is no NUMA node`, 'give its number, -1 for devices without one')
    return Number(text)
  })
  const selector = {
    pfNames: [...(flags.pf ?? [])],
    pciAddresses: [...(flags.pci ?? [])],
    vendors: [...(flags.vendor ?? [])],
    devices: [...(flags.device ?? [])],
    drivers: [...(flags.vfDriver ?? [])],
    linkTypes: [...(flags.linkType ?? [])],
    numaNodes,
    hosts: [...(flags.on ?? [])],
    rdma: flags.rdma === true,
    vdpa: flags.vdpa === true,
  }
  if (Object.values(selector).every((value) => value === false || (Array.isArray(value) && value.length === 0)))
    throw invalid(
      '--pf',
      'a pool of every VF of every host is seldom meant',
      'say which VFs with --pf, --pci, --vendor, ...; `--link-type ether` is all of them',
    )
  const { policy = '', bind: driver = '', resource: resourceName = '' } = flags
  return PutVfPoolRequest.fromPartial({ pool: { name, selectors: [selector], policy, driver, resourceName }, createOnly: true })
}
