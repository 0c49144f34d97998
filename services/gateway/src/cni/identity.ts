/** The id of an attachment's endpoint: the same for every call of it, and of nothing else. */
import type { Endpoint } from '@heddle/contract'
import { hashId } from '@heddle/core'
import type { CniConfig } from './config.ts'

/** Of our own interface, or of the addresses of another plugin's: several of its networks may have theirs from one of ours. */
export function endpointIdOf(of: Pick<Endpoint, 'containerId' | 'interfaceName'>, config: Pick<CniConfig, 'name' | 'cniName' | 'isIpam'>): string {
  return config.isIpam ? hashId(of.containerId, of.interfaceName, config.name, 'ipam', config.cniName) : hashId(of.containerId, of.interfaceName, config.name)
}
