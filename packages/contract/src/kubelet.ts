/** The kubelet's own APIs (Kubernetes, Apache-2.0). Loaded by who speaks them: most hosts have no kubelet. */
export type * as devicePlugin from './gen/kubelet/deviceplugin/v1beta1/api.ts'
export type * as podResources from './gen/kubelet/podresources/v1/api.ts'

/** Device plugin API v1beta1. */
export const loadDevicePluginApi = () => import('./gen/kubelet/deviceplugin/v1beta1/api.ts')
/** Pod resources API v1. */
export const loadPodResourcesApi = () => import('./gen/kubelet/podresources/v1/api.ts')
