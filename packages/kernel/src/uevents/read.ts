/** Kobject uevents (lib/kobject_uevent.c): `action@path`, then KEY=VALUE, each ended by NUL. */
import type { DeviceEvent } from '../types.ts'

const decoder = new TextDecoder()

/** Undefined for what is no uevent of the kernel: udev's own messages begin with "libudev". */
export function readUevent(datagram: Uint8Array): DeviceEvent | undefined {
  const [head = '', ...pairs] = decoder.decode(datagram).split('\0')
  const [, action, path] = /^([a-z]+)@(\/.*)$/s.exec(head) ?? []
  const subsystem = pairs.find((pair) => pair.startsWith('SUBSYSTEM='))?.slice('SUBSYSTEM='.length)
  return action === undefined || path === undefined || subsystem === undefined ? undefined : { action, subsystem, path }
}
