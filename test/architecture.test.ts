// The rules of the layout, proved from the sources: who may import whom, which file may touch which library, how long a file may be.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { isTest, resolveImport, root, type Source, sources } from './sources.ts'

/** Each package may import only those before it. */
const packageOrder = ['contract', 'net', 'core', 'runtime', 'bus', 'store', 'kernel', 'testkit']
const services = ['gateway', 'heddle', 'ipam', 'netns-wiring', 'networks', 'overlay', 'vf-allocator']
const packageSources = sources('packages/*/src/**/*.ts')
const serviceSources = sources('services/*/src/**/*.ts')
const all = [...packageSources, ...serviceSources, ...sources('test/**/*.ts'), ...sources('scripts/**/*.ts')]

const owner = (source: Source) => source.path.split('/')[1] ?? ''
const workspaceImports = (source: Source) => source.imports.filter((name) => name.startsWith('@heddle/')).map((name) => name.slice('@heddle/'.length))

function violations(check: (source: Source) => Iterable<string>, among: readonly Source[]): string[] {
  return among.flatMap((source) => [...check(source)].map((what) => `${source.path}: ${what}`))
}

test('the sources are found and their imports are read', (t) => {
  t.true(packageSources.length > 40 && serviceSources.length > 40)
  t.true(all.some((source) => source.imports.includes('node:fs')))
})

test('the top level is what it was agreed to be', (t) => {
  for (const name of [
    'package.json',
    'pnpm-workspace.yaml',
    'services',
    'proto',
    'deploy',
    'test',
    'packages',
    'docs',
    'Tiltfile',
    'README.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'LICENSE',
    '.ci/run',
  ]) {
    t.true(existsSync(join(root, name)), `${name} is missing`)
  }
  t.deepEqual(readdirSync(join(root, 'packages')).sort(), [...packageOrder].sort())
  t.deepEqual(readdirSync(join(root, 'services')).sort(), services)
})

test('a package imports only packages before it in the order', (t) => {
  t.deepEqual(
    violations(function* (source) {
      const allowed = new Set(packageOrder.slice(0, packageOrder.indexOf(owner(source))))
      if (isTest(source)) allowed.add('testkit').add(owner(source))
      for (const name of workspaceImports(source)) if (!allowed.has(name)) yield `imports @heddle/${name}`
    }, packageSources),
    [],
  )
})

test('no service imports another, but for the roof', (t) => {
  t.deepEqual(
    violations(function* (source) {
      const allowed = new Set(packageOrder.filter((name) => name !== 'testkit' || isTest(source)))
      if (owner(source) === 'heddle') for (const name of services) allowed.add(name)
      if (owner(source) !== 'heddle')
        for (const client of ['ipam', 'networks', 'overlay', 'vf-allocator', 'netns-wiring', 'gateway', 'heddle']) allowed.delete(client)
      for (const name of workspaceImports(source)) if (!allowed.has(name)) yield `imports @heddle/${name}`
    }, serviceSources),
    [],
  )
})

test('each dangerous library has one owner', (t) => {
  const owners: Record<string, string> = { nats: 'packages/bus/', etcd3: 'packages/store/', koffi: 'packages/kernel/' }
  t.deepEqual(
    violations(function* (source) {
      for (const [library, place] of Object.entries(owners)) {
        if (source.imports.includes(library) && !source.path.startsWith(place)) yield `imports ${library}, which only ${place} may`
      }
    }, all),
    [],
  )
  for (const library of Object.keys(owners))
    t.true(
      all.some((source) => source.imports.includes(library)),
      `${library} is imported by nobody`,
    )
})

test('brains touch no kernel, hands and door touch no etcd', (t) => {
  const forbidden: Record<string, string[]> = {
    ipam: ['kernel'],
    networks: ['kernel'],
    overlay: ['kernel'],
    'vf-allocator': ['kernel'],
    gateway: ['kernel', 'store'],
    'netns-wiring': ['store'],
  }
  t.deepEqual(
    violations(function* (source) {
      for (const name of workspaceImports(source)) if (!isTest(source) && forbidden[owner(source)]?.includes(name)) yield `imports @heddle/${name}`
    }, serviceSources),
    [],
  )
})

test('programs are started by adapters and by `heddle up` alone, so that no packet waits for one', (t) => {
  // The embedded servers, and systemd's notification.
  const roof = ['services/heddle/src/up/child.ts', 'services/heddle/src/up/ready.ts']
  const mayStart = ({ path }: Source) => path.endsWith('.adapter.ts') || path.startsWith('packages/testkit/') || roof.includes(path)
  t.deepEqual(
    violations(
      function* (source) {
        if (isTest(source) || mayStart(source)) return
        for (const name of ['node:child_process', 'child_process', 'execa']) if (source.imports.includes(name)) yield `imports ${name}`
      },
      [...packageSources, ...serviceSources],
    ),
    [],
  )
})

test('imports across packages go through their index, and no file reaches out of its own folder', (t) => {
  t.deepEqual(
    violations(
      function* (source) {
        const home = source.path.split('/').slice(0, 2).join('/')
        for (const name of source.imports) {
          if (name.startsWith('@heddle/') && name.split('/').length > 2) yield `deep import ${name}`
          if (name.startsWith('.') && !resolveImport(source, name).startsWith(`${home}/`)) yield `reaches ${name}`
        }
      },
      [...packageSources, ...serviceSources],
    ),
    [],
  )
})

test('modules make no circles', (t) => {
  const byPath = new Map(all.map((source) => [source.path, source]))
  const state = new Map<string, 'open' | 'done'>()
  const circles: string[] = []
  const visit = (source: Source, trail: readonly string[]): void => {
    state.set(source.path, 'open')
    for (const specifier of source.imports.filter((name) => name.startsWith('.'))) {
      const path = resolveImport(source, specifier)
      const next = byPath.get(path)
      if (next === undefined) continue
      if (state.get(path) === 'open') circles.push([...trail, source.path, path].join(' -> '))
      else if (!state.has(path)) visit(next, [...trail, source.path])
    }
    state.set(source.path, 'done')
  }
  for (const source of all) if (!state.has(source.path)) visit(source, [])
  t.deepEqual(circles, [])
})

test('one idea a file: none is longer than 350 lines, half are at most 130', (t) => {
  const lengths = all.map((source) => ({ path: source.path, lines: source.text.split('\n').length - 1 }))
  t.deepEqual(
    lengths.filter(({ lines }) => lines > 350).map(({ path, lines }) => `${path}: ${lines}`),
    [],
  )
  const own = lengths
    .filter(({ path }) => !path.startsWith('test/'))
    .map(({ lines }) => lines)
    .sort((a, b) => a - b)
  t.true((own[Math.floor(own.length / 2)] ?? 0) <= 130)
})

test('every package and service says in its README what it is, and its index is short', (t) => {
  for (const home of [...packageOrder.map((name) => `packages/${name}`), ...services.map((name) => `services/${name}`)]) {
    t.true(existsSync(join(root, home, 'README.md')), `${home}/README.md is missing`)
    const index = readFileSync(join(root, home, 'src/index.ts'), 'utf8')
    t.true(index.split('\n').length <= 60, `${home}/src/index.ts is longer than 60 lines`)
    if (home.startsWith('services/')) t.true(existsSync(join(root, home, 'src/main.ts')) || home === 'services/heddle', `${home}/src/main.ts is missing`)
  }
})
