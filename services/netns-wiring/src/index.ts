export { type WiringConfig, wiringConfig } from './config.ts'
export { fabricPath, type WiringParts, wiringService } from './main.ts'
