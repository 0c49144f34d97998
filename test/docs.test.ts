// What the documentation names exists: every path, every subject, every key, every npm script, every command of heddle with its flags.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type BusService, busServices, eventSubjects, HeddleDefinition, subjectOf } from '@heddle/contract'
import test from 'ava'
import { program } from '../services/heddle/src/cli/program.ts'
import { root } from './sources.ts'

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'deploy/README.md',
  ...globSync('docs/**/*.md', { cwd: root }),
  ...globSync('{packages,services,deploy}/*/README.md', { cwd: root }),
]
const textOf = (page: string) => readFileSync(join(root, page), 'utf8')

test('every path the documentation names exists', (t) => {
  const paths = pages.flatMap((page) =>
    [...textOf(page).matchAll(/`((?:packages|services|proto|deploy|test|docs|scripts)\/[\w./-]+)`/g)].map((match) => [page, match[1] ?? ''] as const),
  )
  t.true(paths.length > 20)
  for (const [page, path] of paths) t.true(existsSync(join(root, path)), `${page} names ${path}`)
})

test('every source that the page of a package or service names exists', (t) => {
  const named = pages.flatMap((page) => [...textOf(page).matchAll(/`(src\/[\w./-]+)`/g)].map((match) => [page, match[1] ?? ''] as const))
  t.true(named.length > 3)
  for (const [page, path] of named) t.true(existsSync(join(root, dirname(page), path)), `${page} names ${path}`)
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

test('every key of etcd the documentation names is one that a service has', (t) => {
  const sources = globSync(['services/*/src/keys.ts', 'packages/contract/src/keys.ts', 'packages/store/src/*.ts'], { cwd: root }).map(textOf).join('\n')
  const named = pages.flatMap((page) => [...textOf(page).matchAll(/`(heddle\/[a-z/-]+)`/g)].map((match) => [page, match[1] ?? ''] as const))
  t.true(named.length > 5)
  for (const [page, key] of named) t.true(sources.includes(`'${key}`), `${page} names ${key}`)
})

test('every command of heddle the documentation names exists, with its flags', (t) => {
  type Command = ReturnType<typeof program>
  // In backquotes, or a line of an indented block, alone or after another command.
  const named = pages.flatMap((page) =>
    [...textOf(page).matchAll(/`heddle ((?!is )[^`]+)`|^ {4}(?:.*&& )?heddle ([a-z-][ -~]*)$/gm)].map((match) => [page, match[1] ?? match[2] ?? ''] as const),
  )
  t.true(named.length > 10)
  for (const [page, line] of named) {
    const words = line.split(/\s+/)
    let command: Command | undefined = program()
    const flags = new Set(['--help', ...command.options.map((option) => option.long)])
    while (command !== undefined && command.commands.length > 0 && !(words[0] ?? '--').startsWith('-')) {
      const word: string | undefined = words.shift()
      command = command.commands.find((each: Command) => each.name() === word)
      t.not(command, undefined, `${page} names heddle ${line}`)
      for (const option of command?.options ?? []) flags.add(option.long)
    }
    for (const word of words.filter((each) => each.startsWith('--'))) t.true(flags.has(word.split('=')[0]), `${page} names ${word} of heddle ${line}`)
  }
})
