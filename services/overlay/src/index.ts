export { type OverlayConfig, overlayConfig } from './config.ts'
export { type OverlayParts, overlayService } from './main.ts'
