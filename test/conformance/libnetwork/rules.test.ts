// Each rule of the command against a plugin that keeps all of them, and against one that breaks that rule.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { judge } from '../report.ts'
import { Plugin } from './plugin.ts'
import { rules } from './rules/index.ts'
import type { Subject } from './stage.ts'
import { FakePlugin } from './testing/fake.ts'
import { faults } from './testing/faults.ts'

const dir = mkdtempSync(join(tmpdir(), 'heddle-libnetwork-'))
const path = join(dir, 'fake.sock')
const fake = new FakePlugin()
const plugin = new Plugin(path, 5000)

test.before(() => fake.listen(path))
test.after.always(async () => {
  plugin.close()
  await fake.close()
  rmSync(dir, { recursive: true })
})

function subject(more: Partial<Subject> = {}): Subject {
  let third = 0
  const nextSubnet = () => `10.210.${third++}.0/24`
  return {
    plugin,
    implements: ['NetworkDriver', 'IpamDriver'],
    scope: 'global',
    options: { colour: 'red' },
    ipamOptions: {},
    links: false,
    nextSubnet,
    ...more,
  }
}

const outcomes = async (only: (id: string) => boolean, more: Partial<Subject> = {}) =>
  (
    await judge(
      rules.filter(({ id }) => only(id)),
      subject(more),
    )
  ).map(({ id, outcome, reason }) => `${outcome} ${id} ${reason}`.trim())

test.serial('a plugin that keeps every rule passes every rule', async (t) => {
  fake.reset({})
  const without = (id: string) => !id.startsWith('LINK-')
  t.deepEqual(
    await outcomes(without),
    rules.filter(({ id }) => without(id)).map(({ id }) => `ok ${id}`),
  )
})

test.serial('a plugin that is only one of the two drivers is asked nothing of the other', async (t) => {
  for (const service of ['NetworkDriver', 'IpamDriver']) {
    fake.reset({})
    const told = await outcomes(() => true, { implements: [service], scope: service === 'NetworkDriver' ? 'global' : undefined })
    t.deepEqual(
      told.filter((line) => line.startsWith('FAIL')),
      [],
      service,
    )
    t.true(told.filter((line) => line.startsWith('skip')).length > 15, service)
  }
})

test('there is a fault for each rule, and each rule has an id of its own', (t) => {
  t.deepEqual(Object.keys(faults).sort(), rules.map(({ id }) => id).sort())
})

for (const { id, section, text } of rules) {
  test.serial(`${id} fails where it is not so that ${text}`, async (t) => {
    fake.reset(faults[id] ?? {})
    const [told = ''] = await outcomes((one) => one === id, { links: id.startsWith('LINK-') })
    t.regex(told, new RegExp(`^FAIL ${id} \\S`), `${section}: ${told}`)
  })
}
