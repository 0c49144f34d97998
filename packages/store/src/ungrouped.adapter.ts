/** What group commit is measured against: one etcd transaction a claim, as etcd3's own builder writes it. For benchmarks only. */
import * as etcd3 from 'etcd3'

export interface Ungrouped {
  /** Puts all keys if none exists; false when one does. */
  createAll(entries: Readonly<Record<string, string>>): Promise<boolean>
  close(): void
}

export function connectUngrouped(endpoints: readonly string[]): Ungrouped {
  const client = new etcd3.Etcd3({ hosts: [...endpoints] })
  return {
    async createAll(entries) {
      const [first = '', ...others] = Object.keys(entries)
      const absent = others.reduce((builder, key) => builder.and(key, 'Create', '==', 0), client.if(first, 'Create', '==', 0))
      const { succeeded } = await absent.then(...[first, ...others].map((key) => client.put(key).value(entries[key] ?? ''))).commit()
      return succeeded
    },
    close: () => client.close(),
  }
}
