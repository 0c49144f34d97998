// Every method of the contract has one subject and one handler, and what is committed as generated is what the definitions generate.
import { execFileSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BusService, busServices, isToken, subjectOf } from '@heddle/contract'
import test from 'ava'
import { ipamHandlers } from '../services/ipam/src/handlers.ts'
import { wiringHandlers } from '../services/netns-wiring/src/handlers.ts'
import { networksHandlers } from '../services/networks/src/handlers.ts'
import { overlayHandlers } from '../services/overlay/src/handlers.ts'
import { vfAllocatorHandlers } from '../services/vf-allocator/src/handlers.ts'
import { isTest, root, sources } from './sources.ts'

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

const handlersOf: Readonly<Record<string, object>> = {
  ipam: ipamHandlers({} as never),
  networks: networksHandlers({} as never),
  overlay: overlayHandlers({} as never, {} as never, 0),
  vfAllocator: vfAllocatorHandlers({} as never),
  wiring: wiringHandlers({} as never),
}

test('every method has exactly one handler', (t) => {
  for (const [name, service] of services) {
    const methods = methodsOf(service).map(([method]) => method)
    t.deepEqual(Object.keys(handlersOf[name] ?? {}).sort(), methods.sort(), name)
  }
})

test('every service is served in one place, that of the service its queue group is named after', (t) => {
  const served = sources('services/*/src/**/*.ts')
    .filter((source) => !isTest(source))
    .flatMap(({ path, text }) => [...text.matchAll(/\.serve\(\s*busServices\.(\w+)/g)].map((match) => `${match[1]} in ${path}`))
  t.deepEqual(served.sort(), services.map(([name, service]) => `${name} in services/${service.queue}/src/main.ts`).sort())
})

test('a host name that is no subject token is refused', (t) => {
  const wiring: BusService = busServices.wiring
  const attach = wiring.definition.methods['attach']
  if (attach === undefined) return t.fail('Wiring.Attach is gone')
  for (const host of ['', 'a.b', '*', '>', 'a b', undefined]) t.throws(() => subjectOf(wiring, attach, host), { instanceOf: RangeError })
})

test('what is committed as generated is what the definitions generate, no more and no less', (t) => {
  const gen = join(root, 'packages/contract/src/gen')
  const out = mkdtempSync(join(tmpdir(), 'heddle-gen-'))
  try {
    const template = readFileSync(join(root, 'proto/buf.gen.yaml'), 'utf8').replace('../packages/contract/src/gen', out)
    const path = `${join(root, 'packages/contract/node_modules/.bin')}:${process.env['PATH']}`
    for (const args of [
      ['generate', '--template', template],
      ['build', '--path', 'heddle', '-o', join(out, 'heddle.binpb')],
    ]) {
      execFileSync('buf', args, { cwd: join(root, 'proto'), env: { ...process.env, PATH: path } })
    }
    const files = (directory: string) => globSync('**/*.*', { cwd: directory }).sort()
    t.deepEqual(files(gen), files(out), 'run npm run generate, and remove what is left over')
    for (const file of files(out)) t.true(readFileSync(join(gen, file)).equals(readFileSync(join(out, file))), `${file}: run npm run generate`)
  } finally {
    rmSync(out, { recursive: true })
  }
})
