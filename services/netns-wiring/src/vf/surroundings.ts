/** What only files of the host tell of VFs; those of another host in tests. */
import type { LinkInfo } from '@heddle/kernel'
import { everyNamespace } from './namespaces.adapter.ts'
import { udevIsDone, vfioUsers } from './users.adapter.ts'

export interface VfSurroundings {
  /** Paths of every network namespace but the host's. */
  readonly namespaces: () => Promise<string[]>
  /** Who has device nodes of these IOMMU groups open, in words. */
  readonly users: (iommuGroups: ReadonlySet<string>) => Promise<ReadonlyMap<string, string>>
  /** Whether a netdev has its final name. */
  readonly isNamed: (link: LinkInfo) => boolean
}

export const realSurroundings: VfSurroundings = { namespaces: everyNamespace, users: vfioUsers, isNamed: udevIsDone }
