/** What a kernel in memory is told of hardware, and how it refuses. Tests only. */
import { HeddleError } from '@heddle/core'
import type { LinkInfo, SetVf, VfInfo } from '@heddle/kernel'

export type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export class Refusal extends HeddleError {
  readonly errno: string
  readonly index: number
  readonly text = ''

  constructor(errno: string, index = 0, setting?: string) {
    super('kernel-refused', `the kernel refused: ${errno}`, { details: { errno, ...(setting === undefined ? {} : { setting }) } })
    this.errno = errno
    this.index = index
  }
}

/** What hardware adds: VFs, and netdevs whose driver has a say. */
export interface FakeHardware {
  set(step: SetVf): { readonly errno: string; readonly setting: string } | undefined
  vfs(pfName: string): readonly VfInfo[] | undefined
  /** A driver's answer to a new MAC: an errno, or nothing. It sets it itself, now or later. */
  mac(link: Mutable<LinkInfo>, mac: string): string | undefined
  /** A netdev was moved or renamed, or its MAC or MTU changed. */
  changed(): void
  /** Before each look at links: what was to come later may come. */
  looked(): void
}
