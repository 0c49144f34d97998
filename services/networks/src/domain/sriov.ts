/** What networks of kind sriov and their endpoints have that others have not. */
import { type Endpoint, type Network, SriovNetwork, type VfAttachment } from '@heddle/contract'
import { checkNetworkName, checkPci, checkVfSelector, checkVfSettings, HeddleError, invalid } from '@heddle/core'

const policies = ['', 'pack', 'spread']
/** User-space drivers a VF can be bound to. */
const drivers = ['', 'vfio-pci']

/** Throws invalid-argument. */
export function checkSriov({ kind, sriov }: Network): SriovNetwork | undefined {
  if (kind !== 'sriov') {
    if (sriov !== undefined) throw invalid('network.sriov', `a network of kind ${kind} has no VFs`, 'use kind "sriov", or leave them out')
    return undefined
  }
  const { pool, policy, driver, apart, selector, settings } = sriov ?? SriovNetwork.fromPartial({})
  if (!policies.includes(policy)) throw invalid('network.sriov.policy', `policy ${JSON.stringify(policy)} is unknown`, 'use "pack" or "spread"')
  return {
    pool: pool === '' ? '' : checkNetworkName(pool, 'network.sriov.pool'),
    selector: selector && checkVfSelector(selector, 'network.sriov.selector'),
    settings: settings && checkVfSettings(settings, 'network.sriov.settings'),
    policy,
    driver: checkDriver(driver, 'network.sriov.driver'),
    apart,
  }
}

/** Each part of the definition in both; nothing said is the same as nothing narrowed and nothing set. */
export function sriovFields(there: Network, asked: Network): readonly (readonly [string, unknown, unknown])[] {
  const parts = ({ sriov }: Network) => {
    const { pool, selector, settings, policy, driver, apart } = SriovNetwork.toJSON(sriov ?? SriovNetwork.fromPartial({})) as Record<string, unknown>
    return [pool ?? '', selector ?? {}, settings ?? {}, policy ?? '', driver ?? '', apart ?? false]
  }
  const [a, b] = [parts(there), parts(asked)]
  return ['pool', 'selector', 'settings', 'policy', 'driver', 'apart'].map((name, index) => [`sriov.${name}`, a[index], b[index]])
}

/** The endpoint's VF in canonical form. Throws invalid-argument. */
export function checkVf(vf: VfAttachment | undefined): VfAttachment | undefined {
  if (vf === undefined) return undefined
  return {
    ...vf,
    pci: checkPci(vf.pci, 'endpoint.vf.pci'),
    pf: checkPci(vf.pf, 'endpoint.vf.pf'),
    settings: vf.settings && checkVfSettings(vf.settings, 'endpoint.vf.settings'),
    driver: checkDriver(vf.driver, 'endpoint.vf.driver'),
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

function checkDriver(driver: string, field: string): string {
  if (!drivers.includes(driver))
    throw invalid(
      field,
      `driver ${JSON.stringify(driver.slice(0, 80))} is no user-space driver known here`,
      'use "vfio-pci", or leave it empty for the kernel driver',
    )
  return driver
}
