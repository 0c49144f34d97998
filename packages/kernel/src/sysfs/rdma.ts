/** Device nodes of a function's RDMA devices (Documentation/infiniband/user_verbs.rst and user_mad.rst). */
import { naturally } from './netdevs.ts'
import type { Tree } from './read.ts'

const classes = ['infiniband_verbs', 'infiniband_mad']

export async function rdmaNodes(tree: Tree, pci: string): Promise<string[]> {
  const device = tree.device(pci)
  const found = await Promise.all(classes.map(async (name) => [...(await tree.names(`${device}/${name}`))].sort(naturally)))
  const names = found.flat()
  // The connection manager is one for all of them.
  return names.length === 0 ? [] : [...names, 'rdma_cm'].map((name) => `/dev/infiniband/${name}`)
}
