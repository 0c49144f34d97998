/** What the gateway asks of the hands about VFs, as the tests ask it. */
import type { AttachResponse, DetachRequest, DetachResponse, Endpoint, VfRepair } from '@heddle/contract'
import { within } from './lab.ts'
import { network, type VfLab } from './vf-lab.ts'

export async function attach(lab: VfLab, endpoint: Endpoint): Promise<AttachResponse> {
  await within((call) => lab.wiring.prepare({ network, endpoint }, call))
  return within((call) => lab.wiring.attach({ network, endpoint, routes: [] }, call))
}

export function detach(lab: VfLab, endpoint: Endpoint, parts: Partial<DetachRequest> = {}): Promise<DetachResponse> {
  const request = { endpointId: endpoint.id, networkId: network.id, sandbox: endpoint.sandbox, interfaceName: 'net1', vf: endpoint.vf, ...parts }
  return within((call) => lab.wiring.detach(request, call))
}

/** Every VF, or one. */
export async function repair(lab: VfLab, pci = ''): Promise<VfRepair[]> {
  return (await within((call) => lab.wiring.repairVfs({ pci }, call))).repairs
}
