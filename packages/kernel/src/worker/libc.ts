/**
 * The C library as the netlink thread uses it, through koffi: synchronous calls only, so that a namespace entered is
 * left before anything else runs. Layouts are those of 64-bit Linux.
 */

import { writeSync } from 'node:fs'
import { endianness } from 'node:os'
import koffi from 'koffi'
import { SystemCallFailure } from './failures.ts'

const library = koffi.load(null)
const bind = (signature: string) => library.func(signature)

const socketCall = bind('int socket(int, int, int)')
const bindCall = bind('int bind(int, const void *, unsigned int)')
const setsockoptCall = bind('int setsockopt(int, int, int, const void *, unsigned int)')
const sendCall = bind('long send(int, const void *, unsigned long, int)')
const sendtoCall = bind('long sendto(int, const void *, unsigned long, int, const void *, unsigned int)')
const recvCall = bind('long recv(int, void *, unsigned long, int)')
const readCall = bind('long read(int, void *, unsigned long)')
const closeCall = bind('int close(int)')
const ioctlCall = bind('int ioctl(int, unsigned long, void *)')
const pollCall = bind('int poll(void *, unsigned long, int)')
const eventfdCall = bind('int eventfd(unsigned int, int)')
const setnsCall = bind('int setns(int, int)')
const unshareCall = bind('int unshare(int)')
const mountCall = bind('int mount(const char *, const char *, const char *, unsigned long, const void *)')
const umountCall = bind('int umount2(const char *, int)')
const abortCall = bind('void abort()')

export const AF_PACKET = 17
const EAGAIN = 11
const EINTR = 4
const CLONE_NEWNET = 0x40000000
const SOCK_RAW_CLOEXEC = 3 | 0o2000000
const SIOCGIFINDEX = 0x8933
const NS_GET_NSTYPE = 0xb703
const MS_BIND = 4096
const MNT_DETACH = 2
const MSG_DONTWAIT = 0x40
const MSG_TRUNC = 0x20

/** Result of a call that answers -1 on failure. */
export function checked(call: string, result: number): number {
  if (result >= 0) return result
  throw new SystemCallFailure(call, koffi.errno())
}

/** Descriptors open here, 0 for a free slot; shared with the main thread, which closes them when this thread has died. */
let openDescriptors: Int32Array = new Int32Array(0)
let giveAway: (fd: number) => void = closeCall

export function shareDescriptors(table: Int32Array, closeOnMainThread: (fd: number) => void): void {
  openDescriptors = table
  giveAway = closeOnMainThread
}

export function socket(domain: number, protocol: number): number {
  return remember(checked('socket', socketCall(domain, SOCK_RAW_CLOEXEC, protocol)))
}

export function remember(fd: number): number {
  const slot = openDescriptors.indexOf(0)
  if (slot >= 0) openDescriptors[slot] = fd
  return fd
}

export function bindSocket(fd: number, address: Uint8Array): void {
  checked('bind', bindCall(fd, address, address.length))
}

/** False when this kernel does not know the option. */
export function setOption(fd: number, level: number, name: number, value: Uint8Array): boolean {
  return setsockoptCall(fd, level, name, value, value.length) === 0
}

export function send(fd: number, bytes: Uint8Array): void {
  checked(
    'send',
    retryInterrupted(() => sendCall(fd, bytes, bytes.length, 0)),
  )
}

export function sendTo(fd: number, bytes: Uint8Array, address: Uint8Array): void {
  checked(
    'sendto',
    retryInterrupted(() => sendtoCall(fd, bytes, bytes.length, 0, address, address.length)),
  )
}

/** Bytes of one datagram, its real length even when the buffer is shorter; undefined when there is none (in time). */
export function receive(fd: number, into: Uint8Array, wait: boolean): number | undefined {
  const length: number = retryInterrupted(() => recvCall(fd, into, into.length, MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT)))
  if (length >= 0) return length
  if (koffi.errno() === EAGAIN) return undefined
  throw new SystemCallFailure('recv', koffi.errno())
}

export function close(fd: number): void {
  forget(fd)
  closeCall(fd)
}

/** For a descriptor whose closing blocks. */
export function closeElsewhere(fd: number): void {
  forget(fd)
  giveAway(fd)
}

function forget(fd: number): void {
  const slot = openDescriptors.indexOf(fd)
  if (slot >= 0) openDescriptors[slot] = 0
}

/** Index of an interface by name in the socket's namespace, 0 when absent: a fifth of what RTM_GETLINK costs. */
export function interfaceIndex(fd: number, name: string): number {
  const request = new Uint8Array(128)
  new TextEncoder().encodeInto(name, request.subarray(0, 15))
  return ioctlCall(fd, SIOCGIFINDEX, request) < 0 ? 0 : native.getInt32(request, 16)
}

export function poll(descriptors: Uint8Array, count: number, timeoutMs: number): number {
  const ready: number = pollCall(descriptors, count, timeoutMs)
  if (ready >= 0 || koffi.errno() === EINTR) return Math.max(0, ready)
  throw new SystemCallFailure('poll', koffi.errno())
}

/** Non-blocking, close-on-exec. */
export function eventfd(): number {
  return remember(checked('eventfd', eventfdCall(0, 0o2000000 | 0o4000)))
}

export function drainEventfd(fd: number): void {
  readCall(fd, eventCount, 8)
}

/** Whether a descriptor is that of a network namespace (ioctl_nsfs(2)). */
export function isNetworkNamespace(fd: number): boolean {
  return ioctlCall(fd, NS_GET_NSTYPE, null) === CLONE_NEWNET
}

export function enterNamespace(fd: number): void {
  checked('setns', setnsCall(fd, CLONE_NEWNET))
}

export function unshareNamespace(): void {
  checked('unshare', unshareCall(CLONE_NEWNET))
}

export function bindMount(source: string, target: string): void {
  checked('mount', mountCall(source, target, 'none', MS_BIND, null))
}

export function unmount(target: string): void {
  checked('umount2', umountCall(target, MNT_DETACH))
}

/** Ends the whole process: a thread left in a foreign namespace must not go on. */
export function abortProcess(message: string): never {
  writeSync(2, `${message}\n`)
  abortCall()
  throw new Error(message)
}

const little = endianness() === 'LE'
const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Integers in the machine's byte order. */
export const native = {
  getInt32: (bytes: Uint8Array, at: number) => view(bytes).getInt32(at, little),
  getInt16: (bytes: Uint8Array, at: number) => view(bytes).getInt16(at, little),
  setInt32: (bytes: Uint8Array, at: number, value: number) => view(bytes).setInt32(at, value, little),
  setInt16: (bytes: Uint8Array, at: number, value: number) => view(bytes).setInt16(at, value, little),
  setUint64: (bytes: Uint8Array, at: number, value: bigint) => view(bytes).setBigUint64(at, value, little),
}

const eventCount = new Uint8Array(8)

function retryInterrupted(call: () => number): number {
  for (;;) {
    const result = call()
    if (result >= 0 || koffi.errno() !== EINTR) return result
  }
}
