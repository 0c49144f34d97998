/** What a made-up sysfs is made of. */

export interface SysfsDescription {
  readonly functions: readonly FunctionDescription[]
  /** Drivers that are loaded besides those of the functions; default vfio-pci. */
  readonly drivers?: readonly string[]
  /** The same seed gives the same MACs. */
  readonly seed?: string
}

export interface FunctionDescription {
  /** `0000:3b:00.0` */
  readonly pci: string
  /** Four hex digits each. */
  readonly vendor: string
  readonly device: string
  /** Default `020000`, Ethernet. */
  readonly class?: string
  /** The driver made for it; empty: none is loaded. */
  readonly driver: string
  /** Default 0; -1: unknown. */
  readonly numaNode?: number
  /** Default true; without one there is no group, and vfio-pci refuses. */
  readonly iommu?: boolean
  readonly netdevs?: readonly NetdevDescription[]
  /** Netdevs are those of a virtio device below the function, or of a virtio device of a vDPA device. */
  readonly below?: 'virtio' | 'vdpa'
  /** Number of the vDPA device. */
  readonly vdpa?: number
  /** Name of its InfiniBand or RoCE device. */
  readonly rdma?: string
  readonly vfs?: VfsDescription
}

export interface NetdevDescription {
  readonly name: string
  /** Made of seed, address and port when absent. */
  readonly mac?: string
  /** Default 1500. */
  readonly mtu?: number
  /** Default true. */
  readonly carrier?: boolean
  /** ARPHRD_*, default 1. */
  readonly type?: number
  readonly physSwitchId?: string
  readonly physPortName?: string
  readonly devPort?: number
}

export interface VfsDescription {
  readonly total: number
  /** How many there are at first; default 0. */
  readonly count?: number
  readonly device: string
  /** Empty: no driver for VFs is loaded. */
  readonly driver: string
  /** Of the VFs' routing ids (SR-IOV capability): VF n is at PF + offset + n * stride. */
  readonly offset: number
  readonly stride: number
  /** Whether VFs get their driver at once; default true. */
  readonly autoprobe?: boolean
  /** The VFs' netdevs are below this; `vdpa` makes a vDPA device of each. */
  readonly below?: 'virtio' | 'vdpa'
  readonly rdma?: boolean
  /** `within`: representors are netdevs of the PF's device, as of today's drivers; `apart`: of no device. */
  readonly representors?: 'within' | 'apart'
  /** The PF has an out-of-tree VLAN trunk file for each VF. */
  readonly trunk?: boolean
}
