// Every method of the contract has one subject and one handler, and what is committed as generated is what the definitions generate.
import { execFileSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BusService, busServices, isToken, subjectOf } from '@heddle/contract'
import test from 'ava'
import { root, sources } from './sources.ts'

const services: readonly (readonly [string, BusService])[] = Object.entries(busServices)
const methodsOf = (service: BusService) => Object.entries(service.definition.methods)

test('every method has one subject, and no two share one', (t) => {
  const subjects = services.flatMap(([, service]) =>
    methodsOf(service).map(([, method]) => subjectOf(service, method, service.scope === 'host' ? 'h1' : undefined)),
  )
  t.is(new Set(subjects).size, subjects.length)
  t.true(subjects.includes('heddle.v1.Ipam.Allocate'))
  t.true(subjects.includes('heddle.v1.Wiring.Attach.h1'))
  for (const subject of subjects) for (const token of subject.split('.')) t.true(isToken(token), subject)
})

test('every service of the proto files on the bus is in the registry, and the public API is not', (t) => {
  const declared = globSync('proto/heddle/v1/*.proto', { cwd: root }).flatMap((path) =>
    [...readFileSync(join(root, path), 'utf8').matchAll(/^service (\w+)/gm)].map((match) => match[1]),
  )
  t.deepEqual(declared.sort(), [...services.map(([, service]) => service.definition.name), 'Heddle'].sort())
})

test('every method has exactly one handler, in the service its queue group is named after', (t) => {
  for (const [name, service] of services) {
    const handlers = sources(`services/${service.queue}/src/handlers.ts`)
    t.is(handlers.length, 1, `services/${service.queue}/src/handlers.ts`)
    for (const [method] of methodsOf(service)) {
      const found = [...(handlers[0]?.text ?? '').matchAll(new RegExp(`(?:^|[\\s{,])(?:async\\s+)?${method}\\s*[:(,]`, 'gm'))]
      t.true(found.length >= 1, `${name}.${method} has no handler in services/${service.queue}/src/handlers.ts`)
    }
  }
})

test('a host name that is no subject token is refused', (t) => {
  const wiring: BusService = busServices.wiring
  const attach = wiring.definition.methods['attach']
  if (attach === undefined) return t.fail('Wiring.Attach is gone')
  for (const host of ['', 'a.b', '*', '>', 'a b', undefined]) t.throws(() => subjectOf(wiring, attach, host), { instanceOf: RangeError })
})

test('the generated code is what the definitions generate', (t) => {
  const out = mkdtempSync(join(tmpdir(), 'heddle-gen-'))
  try {
    const template = readFileSync(join(root, 'proto/buf.gen.yaml'), 'utf8').replace('../packages/contract/src/gen', out)
    const path = `${join(root, 'packages/contract/node_modules/.bin')}:${process.env['PATH']}`
    execFileSync('buf', ['generate', '--template', template], { cwd: join(root, 'proto'), env: { ...process.env, PATH: path } })
    for (const file of globSync('heddle/v1/*.ts', { cwd: out })) {
      t.is(readFileSync(join(root, 'packages/contract/src/gen', file), 'utf8'), readFileSync(join(out, file), 'utf8'), `${file}: run npm run generate`)
    }
  } finally {
    rmSync(out, { recursive: true })
  }
})
