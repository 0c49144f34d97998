/** Throw-away namespaces for tests, and what iproute2 and nft say of them. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { type Call, withCall } from '@heddle/core'
import type { ExecutionContext } from 'ava'
import type { Kernel } from '../types.ts'

export interface Scratch {
  readonly call: Call
  /** A new namespace; its file is in /run/netns, so `ip -n` finds it. */
  namespace(): Promise<{ readonly path: string; readonly name: string }>
}

/**
 * On its first use since boot `ip netns` binds /run/netns to itself, which would hide our mounts below its own. Under
 * iproute2's lock, so it may happen in several processes at once.
 */
function prepareFolder(): void {
  const name = newName()
  sh('ip', 'netns', 'add', name)
  sh('ip', 'netns', 'delete', name)
  removeLeftovers()
}

/** What a test process that was killed has left behind. Others may be removing the same. */
function removeLeftovers(): void {
  for (const name of readdirSync('/run/netns')) {
    const pid = /^hdk-(\d+)-/.exec(name)?.[1]
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) sh('sh', '-c', `ip netns delete ${name} 2>/dev/null || true`)
  }
}

let prepared = false

export async function withScratch(kernel: Kernel, body: (scratch: Scratch) => Promise<void>): Promise<void> {
  if (!prepared) prepareFolder()
  prepared = true
  const paths: string[] = []
  await withCall({ timeoutMs: 60_000 }, async (call) => {
    try {
      await body({
        call,
        async namespace() {
          const name = newName()
          const path = `/run/netns/${name}`
          paths.push(path)
          await kernel.createNamespace(path, call)
          return { path, name }
        },
      })
    } finally {
      for (const path of paths) await kernel.deleteNamespace(path, call)
    }
  })
}

export function newName(): string {
  return `hdk-${process.pid}-${randomBytes(3).toString('hex')}`
}

export function sh(file: string, ...args: string[]): string {
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Parsed output of `ip -j` or `bridge -j` in a namespace. */
export function shown(tool: 'ip' | 'bridge', ns: { readonly name: string }, ...args: string[]): any[] {
  return JSON.parse(sh(tool, '-n', ns.name, '-j', '-d', ...args) || '[]') as any[]
}

/** What an object is known to hold among more. */
export function has(t: ExecutionContext, actual: Record<string, unknown> | undefined, expected: Record<string, unknown>): void {
  t.like(actual, expected as never)
}
