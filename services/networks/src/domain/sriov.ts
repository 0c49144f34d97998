/** What networks of kind sriov and their endpoints have that others have not. */
import { type Endpoint, type Network, SriovNetwork, type VfAttachment } from '@heddle/contract'
import { checkPci, checkSriovNetwork, checkVfDriver, checkVfSettings, HeddleError, invalid } from '@heddle/core'

/** Throws invalid-argument. */
export function checkSriov({ kind, sriov }: Network): SriovNetwork | undefined {
  if (kind !== 'sriov') {
    if (sriov !== undefined) throw invalid('network.sriov', `a network of kind ${kind} has no VFs`, 'use kind "sriov", or leave them out')
    return undefined
  }
  return checkSriovNetwork(sriov ?? SriovNetwork.fromPartial({}), 'network.sriov')
}

/** Each part of the definition in both; nothing said is the same as nothing narrowed and nothing set. */
export function sriovFields(there: Network, asked: Network): readonly (readonly [string, unknown, unknown])[] {
  const parts = ({ sriov }: Network) => {
    const { pool, selector, settings, policy, driver, apart, near } = SriovNetwork.toJSON(sriov ?? SriovNetwork.fromPartial({})) as Record<string, unknown>
    return [pool ?? '', selector ?? {}, settings ?? {}, policy ?? '', driver ?? '', apart ?? false, near ?? '']
  }
  const [a, b] = [parts(there), parts(asked)]
  return ['pool', 'selector', 'settings', 'policy', 'driver', 'apart', 'near'].map((name, index) => [`sriov.${name}`, a[index], b[index]])
}

/** The endpoint's VF in canonical form. Throws invalid-argument. */
export function checkVf(vf: VfAttachment | undefined): VfAttachment | undefined {
  if (vf === undefined) return undefined
  return {
    ...vf,
    pci: checkPci(vf.pci, 'endpoint.vf.pci'),
    pf: checkPci(vf.pf, 'endpoint.vf.pf'),
    settings: vf.settings && checkVfSettings(vf.settings, 'endpoint.vf.settings'),
    driver: checkVfDriver(vf.driver, 'endpoint.vf.driver'),
  }
}

/** Throws invalid-argument when an endpoint of the network should have a VF and has none, or the other way round. */
export function checkHasVf({ vf }: Endpoint, { name, kind }: Network): void {
  if ((vf !== undefined) === (kind === 'sriov')) return
  throw new HeddleError(
    'invalid-argument',
    vf === undefined ? `an endpoint of network ${name} has a VF` : `network ${name} is of kind ${kind}: its endpoints have no VF`,
    {
      field: 'endpoint.vf',
      remedy: vf === undefined ? 'claim one, and name it' : 'leave it out',
    },
  )
}
