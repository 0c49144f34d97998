/** What changes of sysfs stand on: reads, and writes that say what was refused. */
import { type Attempt, refused } from './failures.ts'
import type { Tree } from './read.ts'
import type { Write } from './writer.ts'

export interface Io {
  readonly tree: Tree
  /** `what` completes "the kernel refused ...". */
  write(what: string, attempt: Attempt & { readonly value: string }): Promise<void>
}

export function ioOf(tree: Tree, write: Write): Io {
  return {
    tree,
    async write(what, attempt) {
      try {
        await write(attempt.path, attempt.value)
      } catch (error) {
        throw refused(error, what, attempt)
      }
    },
  }
}
