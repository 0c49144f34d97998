/** Virtual functions through their PF's netdev. */
import { getVfs, readVfs, setVf, type VfSettings, vfSettings } from '../rtnl/vf.ts'
import type { Namespace, SetVf, VfInfo } from '../types.ts'
import { Refused } from './failures.ts'
import type { Namespaces } from './namespaces.ts'
import type { NetlinkSocket } from './netlink-socket.ts'

/**
 * One request. The kernel does not say which setting its driver refused, and goes no further: then each is tried alone, in the
 * kernel's order, and the one at fault is named. None may be: a driver that was busy has everything then.
 */
export function changeVf(socket: NetlinkSocket, index: number, step: SetVf): void {
  const given = vfSettings.filter((setting) => step[setting] !== undefined)
  const request = (settings: VfSettings) => socket.request((writer, sequence) => setVf(writer, sequence, index, step.vf, settings))
  if (given.length > 1) {
    try {
      request(step)
      return
    } catch (error) {
      if (!(error instanceof Refused)) throw error
    }
  }
  for (const setting of given) {
    try {
      request({ [setting]: step[setting] })
    } catch (error) {
      throw error instanceof Refused ? new Refused(error.errno, error.text, { setting }) : error
    }
  }
}

export function readAllVfs(namespaces: Namespaces, ns: Namespace, name: string): VfInfo[] {
  return namespaces.use((open) => {
    const socket = open(ns).route
    const index = socket.indexOf(name)
    const vfs = index === 0 ? undefined : socket.get((writer, sequence) => getVfs(writer, sequence, index), readVfs)
    if (vfs === undefined) throw new Refused('ENODEV', `there is no interface ${name}`)
    return vfs
  })
}
