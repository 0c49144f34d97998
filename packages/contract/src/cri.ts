/** The container runtime interface (Kubernetes, Apache-2.0). Loaded by who speaks it: only tests do. */
export type * as cri from './gen/cri/runtime/v1/api.ts'

/** Container runtime interface v1. */
export const loadCriApi = () => import('./gen/cri/runtime/v1/api.ts')
