/**
 * What a container is given with its devices, in the shape that users of sriov-network-device-plugin know: the variables
 * `PCIDEVICE_<PREFIX>_<NAME>` (addresses) and `..._INFO` (JSON by address), and the device nodes.
 */
import type { devicePlugin, Vf } from '@heddle/contract'

export interface Given {
  readonly vf: Vf
  /** Paths on the host. */
  readonly deviceNodes: readonly string[]
}

export function answerOf(resource: string, given: readonly Given[]): devicePlugin.ContainerAllocateResponse {
  const variable = `PCIDEVICE_${resource.replace(/[./]/g, '_').toUpperCase()}`
  const paths = [...new Set(given.flatMap(({ deviceNodes }) => deviceNodes))]
  return {
    envs: {
      [variable]: given.map(({ vf }) => vf.pci).join(','),
      [`${variable}_INFO`]: JSON.stringify(Object.fromEntries(given.map((one) => [one.vf.pci, infoOf(one)]))),
    },
    mounts: [],
    devices: paths.map((path) => ({ hostPath: path, containerPath: path, permissions: 'rw' })),
    annotations: {},
    cdiDevices: [],
  }
}

function infoOf({ vf, deviceNodes }: Given): Record<string, Record<string, string>> {
  const vfio = Object.fromEntries(
    deviceNodes.filter((path) => path.startsWith('/dev/vfio/')).map((path) => [path === '/dev/vfio/vfio' ? 'mount' : 'dev-mount', path]),
  )
  const rdma = Object.fromEntries(
    deviceNodes.flatMap((path) => {
      const [, kind] = /^\/dev\/infiniband\/(uverbs|umad|issm|rdma_cm)\d*$/.exec(path) ?? []
      return kind === undefined ? [] : [[kind, path]]
    }),
  )
  return {
    generic: { deviceID: vf.pci },
    ...(Object.keys(vfio).length > 0 && { vfio }),
    ...(Object.keys(rdma).length > 0 && { rdma: { ...rdma, rdma_dev: vf.rdmaDevices.join(',') } }),
  }
}
