/** The hands of a host: every kernel object of its endpoints and networks. */
export { type WiringConfig, wiringConfig } from './config.ts'
export { fabricPath, type WiringParts, wiringService } from './main.ts'
