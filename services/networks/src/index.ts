/** Networks and endpoint records of the cluster. */
export { type NetworksConfig, networksConfig } from './config.ts'
export { type NetworksParts, networksService } from './main.ts'
