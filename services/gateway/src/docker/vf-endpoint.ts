/** A VF for an endpoint of Docker's: one whose network interface Docker can move into the container. */
import type { Network } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import type { FlowParts } from '../flows/parts.ts'
import { type ClaimedVf, claimVf, planVf } from '../flows/vf.ts'

/** The same endpoint is answered the VF it has. Fails as the claim does, and with `unsupported` for a VF that has no interface. */
export async function claimForDocker(parts: FlowParts, network: Network, id: string, mac: string, call: Call): Promise<ClaimedVf> {
  const plan = planVf(network)
  // What is freed behind the answer to one call is free for who makes the next.
  await parts.endpoints.freed(call)
  // Docker does not say which container an endpoint is for until it is joined.
  const claimed = await claimVf(parts, network, plan, { id, mac, containerId: '' }, call)
  const { vf, attachment } = claimed
  // One without any driver is bound to its network driver when it is wired, or refused then.
  if (attachment.driver !== '') {
    throw new HeddleError(
      'unsupported',
      `VF ${vf.pci} of ${vf.pfName || vf.pf} has no network interface to give to a container (driver: ${attachment.driver})`,
      {
        field: 'pf',
        remedy: 'bind it to its network driver on the host, or leave it out of the network with -o pf=INTERFACE#INDEXES or a pool',
      },
    )
  }
  return claimed
}
