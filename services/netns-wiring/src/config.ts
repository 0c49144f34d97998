/** The `wiring` section of the configuration. */
import { z } from 'zod'

export const wiringConfig = z.strictObject({
  runDir: z.string().startsWith('/').default('/run/heddle').describe('Directory of the fabric namespace (netns/fabric)'),
  vxlanPort: z.number().int().min(1).max(65535).default(4789).describe('UDP port of VXLAN (RFC 7348: 4789); the same on every host'),
  underlay: z
    .strictObject({
      interface: z.string().max(15).optional().describe('Link that carries VXLAN; default: the one with the default route'),
      address: z.string().optional().describe('Address that VXLAN packets are sent from; default: the first global one of the link'),
    })
    .default({}),
  lingerMs: z.number().int().min(0).default(30_000).describe('How long the devices of a network stay after its last endpoint left the host'),
  reconcileMs: z.number().int().min(100).default(90_000).describe('Time between two comparisons of the kernel with the records'),
  sysfsRoot: z.string().startsWith('/').default('/sys').describe('Where sysfs is mounted: SR-IOV devices are found and changed there'),
  vfReportMs: z.number().int().min(100).default(10_000).describe('Time between two reports of VFs to vf-allocator; changes are reported at once'),
  vfRepairMs: z.number().int().min(100).default(30_000).describe('Time between two searches for VFs that nobody holds and that are not at their baseline'),
  orphanGraceMs: z.number().int().min(0).default(60_000).describe('Age at which a link that no record names is removed'),
})

export type WiringConfig = z.infer<typeof wiringConfig>
