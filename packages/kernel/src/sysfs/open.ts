/** The port on a mounted sysfs. */
import { type Call, HeddleError, invalid, KeyedQueue, raceCall, withSpan } from '@heddle/core'
import { AddressError, canonicalPci } from '@heddle/net'
import { bind, hasDriver, rebind, unbind } from './bind.ts'
import { readPf, readVf, sameVf } from './functions.ts'
import { ioOf } from './io.ts'
import { naturally, ownNetdevs, readPorts } from './netdevs.ts'
import { setNumVfs } from './numvfs.ts'
import { rdmaNodes } from './rdma.ts'
import { Tree } from './read.ts'
import type { Sysfs } from './types.ts'
import { type Write, WriterThreads } from './writer.ts'

export interface SysfsOptions {
  readonly bootIdPath?: string
  /** What a write does, for a made-up tree, where nobody reacts to one. */
  readonly write?: Write
}

/** Changes of one function follow one another; of one whose caller has given up while it waited, nothing is begun. */
export function openSysfs(root = '/sys', options: SysfsOptions = {}): Sysfs {
  const tree = new Tree(root)
  const treeAtOnce = new Tree(root, false)
  const io = ioOf(tree, options.write ?? new WriterThreads().write)
  const bootIdPath = options.bootIdPath ?? '/proc/sys/kernel/random/boot_id'
  const queue = new KeyedQueue()

  /** The caller is answered in time; what the kernel has begun goes on, and the next change of the function waits for it. */
  function change(name: string, pci: string, call: Call, task: (pci: string) => Promise<void>): Promise<void> {
    return withSpan(call, `sysfs ${name}`, { 'heddle.pci': pci }, async () => {
      const address = pciOf(pci)
      const done = queue.run(address, async () => {
        if (call.signal.aborted) throw HeddleError.from(call.signal.reason)
        await task(address)
      })
      await raceCall(done, call)
    })
  }

  return {
    root,
    async physicalFunctions() {
      const addresses = [...(await tree.names(tree.path('bus/pci/devices')))].sort(naturally)
      const functions = await Promise.all(addresses.map((pci) => readPf(tree, pci)))
      return functions.filter((pf) => pf !== undefined)
    },
    physicalFunction: async (pci) => await readPf(tree, pciOf(pci)),
    async virtualFunction(pci, { atOnce = false, known } = {}) {
      const address = pciOf(pci)
      return (known === undefined ? undefined : await sameVf(tree, address, known)) ?? (await readVf(atOnce ? treeAtOnce : tree, address))
    },
    async netdevs(pci) {
      const device = tree.device(pciOf(pci))
      return ownNetdevs(await readPorts(tree, device, await tree.names(device))).map(({ name }) => name)
    },
    async bootId() {
      const id = await tree.text(bootIdPath)
      if (id === undefined || id === '') throw new HeddleError('unsupported', `${bootIdPath} names no boot`, { remedy: 'mount /proc' })
      return id
    },
    setNumVfs: (pf, count, { autoprobe }, call) => change('sriov_numvfs', pf, call, (address) => setNumVfs(io, address, count, autoprobe)),
    bind: (pci, driver, call) => change('bind', pci, call, (address) => bind(io, address, driver)),
    rebind: (pci, call) => change('rebind', pci, call, (address) => rebind(io, address)),
    unbind: (pci, call) => change('unbind', pci, call, (address) => unbind(io, address)),
    rdmaNodes: async (pci) => await rdmaNodes(tree, pciOf(pci)),
    hasDriver: (driver) => hasDriver(tree, driver),
    async writeTrunk(file, text, call) {
      const [, pf = ''] = /\/([^/]+)\/sriov\/\d+\/trunk$/.exec(file) ?? []
      if (!file.startsWith(`${tree.device(pf)}/sriov/`)) throw invalid('trunkFile', `${file} is no trunk file of a VF`)
      const remedies = { EINVAL: 'the driver admits VLANs 1 to 4094, in ranges' }
      await change('trunk', pf, call, () => io.write(`${text} in ${file}`, { path: file, value: text, field: 'settings.trunk', remedies }))
    },
  }
}

function pciOf(text: string): string {
  try {
    return canonicalPci(text)
  } catch (error) {
    throw error instanceof AddressError ? invalid('pci', error.message) : error
  }
}
