export { type WiringConfig, wiringConfig } from './config.ts'
export { type WiringParts, wiringService } from './main.ts'
