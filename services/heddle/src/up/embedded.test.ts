import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@heddle/core'
import test from 'ava'
import { prepareEmbedded } from './embedded.ts'

const logger = { info() {}, error() {} } as any

test('the ports of the first start are those of the next, and a damaged file costs other ports and not the start', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'heddle-embedded-'))
  t.teardown(() => rmSync(dataDir, { recursive: true }))
  const addresses = async () => {
    const { natsServers, etcdEndpoints } = await prepareEmbedded({ dataDir, listen: '127.0.0.1', natsPort: 0, etcdPort: 0 }, logger, systemClock)
    return [...natsServers, ...etcdEndpoints]
  }
  const first = await addresses()
  t.deepEqual(await addresses(), first)
  for (const damage of ['', '{"nats":12', '{}']) {
    writeFileSync(join(dataDir, 'ports.json'), damage)
    t.is((await addresses()).length, 2)
  }
  t.deepEqual(readdirSync(dataDir), ['ports.json'])
})
