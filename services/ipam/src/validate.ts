/** Checks of requests, field by field, before anything is looked up. What comes out is canonical. */
import type { AdoptRequest, AllocateRequest, ReserveRequest, Want } from '@heddle/contract'
import { checkHostName, checkNetworkName, checkOpaqueId, invalid } from '@heddle/core'
import { canonicalIp } from '@heddle/net'
import type { Asked } from './allocate.ts'
import type { Adopted } from './claims.ts'
import { parsed } from './refusals.ts'
import type { Reservation } from './reserve.ts'

const maxWants = 16
/** `<space>.<address>_<length>`, see poolIdOf. */
const poolId = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\.[0-9a-f.:]{2,45}_[0-9]{1,3}$/

export function checkPoolId(id: string, field: string): string {
  if (!poolId.test(id))
    throw invalid(
      field,
      `pool id ${JSON.stringify(id.slice(0, 160))} is not valid`,
      'give an id as CreatePool or ListPools answered it, for example blue.10.1.0.0_16',
    )
  return id
}

export function checkAllocate(request: AllocateRequest): Asked {
  return {
    owner: checkOpaqueId(request.owner, 'owner'),
    host: checkHostName(request.host),
    provisional: request.provisional,
    wants: checkWants(request.wants, 'wants', true),
  }
}

export function checkAdopt(request: AdoptRequest): Adopted {
  return { owner: checkOpaqueId(request.owner, 'owner'), host: checkHostName(request.host), addresses: checkWants(request.addresses, 'addresses', false) }
}

export function checkReserve(request: ReserveRequest): Reservation {
  if (request.address === '' && request.auxiliaryName !== '') throw invalid('address', 'an auxiliary address has no default', 'give the address to set aside')
  return {
    poolId: checkPoolId(request.poolId, 'poolId'),
    address: request.address === '' ? '' : checkAddress(request.address, 'address'),
    name: request.auxiliaryName === '' ? '' : checkNetworkName(request.auxiliaryName, 'auxiliaryName'),
  }
}

export function checkAddress(text: string, field: string): string {
  return parsed(field, () => canonicalIp(text))
}

function checkWants(wants: readonly Want[], name: string, anyAddress: boolean): Want[] {
  if (wants.length === 0 || wants.length > maxWants) throw invalid(name, `${name} has ${wants.length} entries`, `give 1 to ${maxWants}`)
  const seen = new Set<string>()
  return wants.map((want, index) => {
    const field = `${name}[${index}]`
    if (want.poolIds.length === 0 || want.poolIds.length > maxWants)
      throw invalid(`${field}.poolIds`, `${field}.poolIds has ${want.poolIds.length} entries`, `give 1 to ${maxWants}`)
    const poolIds = [...new Set(want.poolIds.map((id) => checkPoolId(id, `${field}.poolIds`)))]
    if (want.address === '' && anyAddress) return { poolIds, address: '' }
    const address = checkAddress(want.address, `${field}.address`)
    if (seen.has(address)) throw invalid(`${field}.address`, `address ${address} is wanted twice`, 'give each address once')
    seen.add(address)
    return { poolIds, address }
  })
}
