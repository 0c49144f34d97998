/** Cards as their drivers show them. */
import type { FunctionDescription, NetdevDescription, VfsDescription } from './description.ts'

export interface Placed {
  readonly pci?: string
  /** Of its first netdev. */
  readonly name?: string
  readonly numVfs?: number
  readonly numaNode?: number
}

interface Card {
  readonly vendor: string
  readonly device: string
  readonly driver: string
  readonly vfs: VfsDescription
  readonly netdev?: Partial<NetdevDescription>
}

function card({ vendor, device, driver, vfs, netdev }: Card, { pci = '0000:3b:00.0', name = 'eth0', numVfs = 0, numaNode = 0 }: Placed): FunctionDescription {
  return { pci, vendor, device, driver, numaNode, netdevs: [{ name, ...netdev }], vfs: { ...vfs, count: numVfs } }
}

const mlx5Vfs = { total: 8, device: '101a', driver: 'mlx5_core', offset: 2, stride: 1, rdma: true } as const
const mlx5 = { vendor: '15b3', device: '1017', driver: 'mlx5_core', vfs: mlx5Vfs } as const

export const presets = {
  /** QEMU's emulated card; its VF driver takes a new MAC only when it is bound again. */
  igb: (at: Placed = {}) =>
    card({ vendor: '8086', device: '10c9', driver: 'igb', vfs: { total: 7, device: '10ca', driver: 'igbvf', offset: 128, stride: 2 } }, at),
  ixgbe: (at: Placed = {}) =>
    card({ vendor: '8086', device: '10fb', driver: 'ixgbe', vfs: { total: 63, device: '10ed', driver: 'ixgbevf', offset: 128, stride: 2 } }, at),
  i40e: (at: Placed = {}) =>
    card({ vendor: '8086', device: '1572', driver: 'i40e', vfs: { total: 64, device: '154c', driver: 'iavf', offset: 16, stride: 1, trunk: true } }, at),
  /** Has a switch id in legacy mode too. */
  ice: (at: Placed = {}) =>
    card(
      {
        vendor: '8086',
        device: '1592',
        driver: 'ice',
        vfs: { total: 128, device: '1889', driver: 'iavf', offset: 8, stride: 1, rdma: false },
        netdev: { physSwitchId: '0000010000c9a1b2', physPortName: 'p0' },
      },
      at,
    ),
  mlx5: (at: Placed = {}): FunctionDescription => ({ ...card({ ...mlx5, netdev: { physPortName: 'p0' } }, at), rdma: 'mlx5_0' }),
  /** One function with two ports. */
  mlx4: (at: Placed = {}): FunctionDescription => {
    const one = card({ vendor: '15b3', device: '1007', driver: 'mlx4_core', vfs: { total: 16, device: '1004', driver: 'mlx4_core', offset: 1, stride: 1 } }, at)
    const name = one.netdevs?.[0]?.name ?? 'eth0'
    // The second port has the name that sorts first.
    return {
      ...one,
      netdevs: [
        { name, devPort: 0 },
        { name: `a${name}`, devPort: 1 },
      ],
    }
  },
  switchdev: (at: Placed = {}): FunctionDescription => ({
    ...card({ ...mlx5, vfs: { ...mlx5Vfs, representors: 'within' }, netdev: { physSwitchId: 'e41d2d0300a1b2c4', physPortName: 'p0' } }, at),
    rdma: 'mlx5_0',
  }),
  /** An older driver: representors are devices of their own. */
  switchdevApart: (at: Placed = {}): FunctionDescription => ({
    ...card({ ...mlx5, vfs: { ...mlx5Vfs, representors: 'apart' }, netdev: { physSwitchId: 'e41d2d0300a1b2c4', physPortName: 'p0' } }, at),
    rdma: 'mlx5_0',
  }),
  infiniband: (at: Placed = {}): FunctionDescription => ({
    ...card({ ...mlx5, netdev: { type: 32, mtu: 2044, mac: `00:00:10:29:fe:80${':00'.repeat(6)}:e4:1d:2d:03:00:a1:b2:c4` } }, { name: 'ib0', ...at }),
    class: '020700',
    rdma: 'mlx5_0',
  }),
  /** VFs as vDPA devices whose netdevs are virtio's. */
  vdpa: (at: Placed = {}): FunctionDescription => ({ ...card({ ...mlx5, vfs: { ...mlx5Vfs, below: 'vdpa' } }, at), rdma: 'mlx5_0' }),
  /** Behind a bridge that makes PCI domains of its own (VMD). */
  vmd: (at: Placed = {}) => presets.ixgbe({ pci: '10000:01:00.0', ...at }),
  /** On a machine that knows no NUMA nodes. */
  noNuma: (at: Placed = {}) => presets.igb({ numaNode: -1, ...at }),
  /** VFs that get no driver by themselves. */
  driverless: (at: Placed = {}): FunctionDescription => {
    const one = presets.igb(at)
    return { ...one, ...(one.vfs === undefined ? {} : { vfs: { ...one.vfs, autoprobe: false } }) }
  },
  /** Cannot have VFs. */
  plain: ({ pci = '0000:02:00.0', name = 'eth9', numaNode = 0 }: Placed = {}): FunctionDescription => ({
    pci,
    vendor: '10ec',
    device: '8168',
    driver: 'r8169',
    numaNode,
    netdevs: [{ name }],
  }),
  virtio: ({ pci = '0000:00:03.0', name = 'eth8', numaNode = -1 }: Placed = {}): FunctionDescription => ({
    pci,
    vendor: '1af4',
    device: '1041',
    driver: 'virtio-pci',
    numaNode,
    iommu: false,
    below: 'virtio',
    netdevs: [{ name }],
  }),
} as const
