/** The gateway service. */
export { type GatewayConfig, gatewayConfig } from './config.ts'
export { type GatewayParts, gatewayService } from './main.ts'
