// What the documentation names exists: every path, every subject, every npm script.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type BusService, busServices, eventSubjects, HeddleDefinition, subjectOf } from '@heddle/contract'
import test from 'ava'
import { root } from './sources.ts'

const pages = ['README.md', 'CONTRIBUTING.md', ...globSync('docs/**/*.md', { cwd: root }), ...globSync('{packages,services,deploy}/*/README.md', { cwd: root })]
const textOf = (page: string) => readFileSync(join(root, page), 'utf8')

test('every path the documentation names exists', (t) => {
  const paths = pages.flatMap((page) =>
    [...textOf(page).matchAll(/`((?:packages|services|proto|deploy|test|docs|scripts)\/[\w./-]+)`/g)].map((match) => [page, match[1] ?? ''] as const),
  )
  t.true(paths.length > 20)
  for (const [page, path] of paths) t.true(existsSync(join(root, path)), `${page} names ${path}`)
})

test('every link between pages leads somewhere', (t) => {
  for (const page of pages) {
    for (const [, target = ''] of textOf(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)) {
      t.true(existsSync(join(root, page, '..', target)), `${page} links ${target}`)
    }
  }
})

test('every subject the documentation names is one of the contract', (t) => {
  const services: readonly BusService[] = Object.values(busServices)
  const subjects = services.flatMap((service) =>
    Object.values(service.definition.methods).map((method) => subjectOf(service, method, service.scope === 'host' ? 'HOST' : undefined)),
  )
  const events = Object.values(eventSubjects).map((subject) => subject('HOST'))
  const known = new Set([...subjects, ...events, HeddleDefinition.fullName])
  const named = pages.flatMap((page) => [...textOf(page).matchAll(/`(heddle\.v1\.[^`]+)`/g)].map((match) => [page, match[1] ?? ''] as const))
  t.true(named.length > 8)
  for (const [page, subject] of named) {
    const tokens = subject.split('.')
    const isHostOrNetwork = /^(<[^>]+>|h\d)$/.test(tokens.at(-1) ?? '')
    const plain = isHostOrNetwork ? [...tokens.slice(0, -1), 'HOST'].join('.') : subject
    const isPattern = subject.endsWith('*')
    t.true(isPattern ? [...known].some((one) => one.startsWith(subject.slice(0, -1))) : known.has(plain), `${page} names ${subject}`)
  }
})

test('every npm script the documentation names exists', (t) => {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> }
  for (const page of pages) for (const [, name = ''] of textOf(page).matchAll(/npm run ([\w:-]+)/g)) t.true(name in scripts, `${page} names npm run ${name}`)
})
