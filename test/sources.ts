/** Reads the workspace's own sources as text: which file imports what. Shared by the tests that prove the rules of the layout. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '..')

export interface Source {
  /** Path from the root. */
  readonly path: string
  readonly text: string
  /** As written: './x.ts', '@heddle/core', 'node:fs', 'nats'. */
  readonly imports: readonly string[]
}

const importPattern = /(?:^|\n)\s*(?:import|export)\s[^'"`;]*?from\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g

export function sources(pattern: string): Source[] {
  return globSync(pattern, { cwd: root, exclude: (path) => /node_modules|\/gen(\/|$)|dist/.test(String(path)) })
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8')
      return { path, text, imports: [...text.matchAll(importPattern)].map((match) => match[1] ?? match[2] ?? match[3] ?? '') }
    })
    .sort((a, b) => a.path.localeCompare(b.path))
}

/** The workspace file a relative import names, as a path from the root. */
export function resolveImport(from: Source, specifier: string): string {
  return relative(root, resolve(root, dirname(from.path), specifier))
}

export const isTest = (source: Source) => /\.test\.ts$|\/test\/|(^|\/)testing\//.test(source.path)
