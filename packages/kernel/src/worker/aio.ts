/**
 * Writes that block in the kernel, without a thread of ours: POSIX aio runs them on the C library's own small helper
 * threads (a few KiB each, ended after a second of idleness). A netlink socket cannot be written at an offset (ESPIPE);
 * glibc and musl then fall back to write(2).
 */
import koffi from 'koffi'
import * as libc from './libc.ts'

const library = koffi.load(null)
const EINPROGRESS = 115
const SIGEV_NONE = 1
/** struct aiocb is 168 bytes in glibc, 168 in musl, 64-bit both; what is used of it stands at the same offsets. */
const blockBytes = 256

const aioWrite = bindOptional('int aio_write(void *)')
const aioError = bindOptional('int aio_error(void *)')
const memcpy = library.func('void *memcpy(void *, const void *, unsigned long)')

export interface Write {
  /** As `lookAfterWrites` found it: undefined while under way, then 0 or what went wrong. */
  errno: number | undefined
}

/** Started writes by their memory. Invariant: never freed before the helper thread is done with it, not even when this thread dies. */
const flying = new Map<unknown, Write>()

/**
 * Begins writing `bytes` to `fd`, which must stay open until the write has ended. At most one write a descriptor: glibc does
 * those of one descriptor in turn.
 */
export function startWrite(fd: number, bytes: Uint8Array): Write {
  lookAfterWrites()
  if (aioWrite === undefined || aioError === undefined) {
    libc.send(fd, bytes)
    return { errno: 0 }
  }
  const memory = koffi.alloc('uint8_t', blockBytes + bytes.length)
  const contents = new Uint8Array(blockBytes + bytes.length)
  libc.native.setInt32(contents, 0, fd)
  libc.native.setUint64(contents, 16, koffi.address(memory) + BigInt(blockBytes))
  libc.native.setUint64(contents, 24, BigInt(bytes.length))
  libc.native.setInt32(contents, 44, SIGEV_NONE)
  contents.set(bytes, blockBytes)
  memcpy(memory, contents, contents.length)
  if (aioWrite(memory) === 0) {
    const write: Write = { errno: undefined }
    flying.set(memory, write)
    return write
  }
  koffi.free(memory)
  libc.send(fd, bytes)
  return { errno: 0 }
}

/** Notes which writes have ended, and how. */
export function lookAfterWrites(): void {
  for (const [memory, write] of flying) {
    const errno = aioError?.(memory) ?? 0
    if (errno === EINPROGRESS) continue
    write.errno = errno
    flying.delete(memory)
    koffi.free(memory)
  }
}

/** Another C library may lack aio, or have it elsewhere: then the write blocks this thread. */
function bindOptional(signature: string): ((memory: unknown) => number) | undefined {
  try {
    return library.func(signature)
  } catch {
    return undefined
  }
}
