/** What overlay networks share: VNIs, hosts and their VTEPs, peer tables. */
export { type OverlayConfig, overlayConfig } from './config.ts'
export { type OverlayParts, overlayService } from './main.ts'
