/** Addresses of the cluster: pools, claims, their sweep. */
export { type IpamConfig, ipamConfig } from './config.ts'
export { type IpamParts, ipamService } from './main.ts'
