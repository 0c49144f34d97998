/**
 * SR-IOV devices as sysfs tells of them (Documentation/ABI/testing/sysfs-bus-pci, Documentation/PCI/pci-iov-howto.rst), and
 * what is written there. The root is a parameter: /sys, or a made-up tree in tests.
 */
import type { Call } from '@heddle/core'

/** A PCI function of class 02 (network). */
export interface PciFunction {
  /** `0000:3b:02.1`; the domain may be longer than four digits. */
  readonly pci: string
  /** Four lower-case hex digits. */
  readonly vendor: string
  readonly device: string
  /** Empty: no driver is bound. */
  readonly driver: string
  readonly driverOverride: string
  /** -1: unknown. */
  readonly numaNode: number
  /** Empty: no IOMMU. */
  readonly iommuGroup: string
  /** Netdevs of the function in the namespace sysfs was mounted in, uplink first, representors left out; `virtio*\/net` included. */
  readonly netdevs: readonly Netdev[]
  readonly rdmaDevices: readonly string[]
  readonly vdpaDevices: readonly string[]
  /** Inode of its folder: another number once the function was made anew. */
  readonly inode: bigint
}

export interface Netdev {
  readonly name: string
  /** Lower case, colon separated; empty for InfiniBand's long addresses. */
  readonly mac: string
  readonly mtu: number
  readonly carrier: boolean
  readonly operstate: string
  /** ARPHRD_*: 1 Ethernet, 32 InfiniBand. */
  readonly type: number
  readonly physSwitchId: string
  readonly physPortName: string
}

export interface PhysicalFunction extends PciFunction {
  readonly totalVfs: number
  readonly numVfs: number
  readonly driversAutoprobe: boolean
  /** Its eswitch is in switchdev mode: the uplink has a switch id and VFs have representors. */
  readonly switchdev: boolean
  readonly vfs: readonly VirtualFunction[]
}

export interface VirtualFunction extends PciFunction {
  readonly pf: string
  /** N of the PF's `virtfnN`. */
  readonly index: number
  /** Netdev on the PF's eswitch that stands for it; empty in legacy mode. */
  readonly representor: string
  /** Out-of-tree VLAN trunk file of the PF for this VF (`sriov/<n>/trunk`), empty where the driver has none. */
  readonly trunkFile: string
}

/** Each read takes the tree as it is: a function that vanishes meanwhile is left out. Fails with kernel-refused (errno in details). */
export interface Sysfs {
  readonly root: string
  /** Every PF that can have VFs, VFs in the order of their index. A handful of small reads a function; off the event loop. */
  physicalFunctions(): Promise<readonly PhysicalFunction[]>
  physicalFunction(pci: string): Promise<PhysicalFunction | undefined>
  /**
   * `atOnce`: nothing is read that may wait for a lock, which moves of other links hold for long. Then there is no driver override, no
   * representor, and of netdevs no carrier, switch id or port name. `known`: what it was; while it is the same function with the same
   * driver, only the names of its netdevs are read again.
   */
  virtualFunction(pci: string, options?: { readonly atOnce?: boolean; readonly known?: VirtualFunction | undefined }): Promise<VirtualFunction | undefined>
  /** Names of the netdevs of any PCI function, as in PciFunction; none when there is no such function. */
  netdevs(pci: string): Promise<readonly string[]>
  /** Name of the boot: generations of different boots differ although inodes may not (/proc/sys/kernel/random/boot_id). */
  bootId(): Promise<string>
  /**
   * Writes `sriov_numvfs` (through 0 when there are some); may take seconds, in a thread of its own. `autoprobe` false leaves the VFs without
   * driver. Fails with kernel-refused: EBUSY, ERANGE.
   */
  setNumVfs(pf: string, count: number, options: { readonly autoprobe?: boolean }, call: Call): Promise<void>
  /** Binds to a driver by `driver_override`, unbinding what is bound. Empty: whatever driver matches by itself. Repeatable. */
  bind(pci: string, driver: string, call: Call): Promise<void>
  /** Unbinds and binds again the driver that is bound. */
  rebind(pci: string, call: Call): Promise<void>
  /** No driver, and no override. Repeatable. */
  unbind(pci: string, call: Call): Promise<void>
  /** `/dev/infiniband/uverbs0` and the like, which a container needs for the function's RDMA devices; empty without any. */
  rdmaNodes(pci: string): Promise<readonly string[]>
  /** Whether the kernel has the driver loaded. */
  hasDriver(driver: string): Promise<boolean>
  /** `add`/`rem` ranges in an out-of-tree trunk file. */
  writeTrunk(file: string, text: string, call: Call): Promise<void>
}
