import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { openSysfs } from './open.ts'

test('the device nodes of an RDMA function are those of its own devices, and the connection manager', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'heddle-sysfs-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  const folders = ['0000:3b:02.1/infiniband_verbs/uverbs7', '0000:3b:02.1/infiniband_mad/umad7', '0000:3b:02.1/infiniband_mad/issm7', '0000:3b:02.2/net/eth0']
  for (const folder of folders) mkdirSync(join(root, 'bus/pci/devices', folder), { recursive: true })
  const sysfs = openSysfs(root)
  t.deepEqual(
    await sysfs.rdmaNodes('0000:3b:02.1'),
    ['uverbs7', 'issm7', 'umad7', 'rdma_cm'].map((name) => `/dev/infiniband/${name}`),
  )
  t.deepEqual(await sysfs.rdmaNodes('0000:3b:02.2'), [])
  t.deepEqual(await sysfs.rdmaNodes('0000:3b:02.3'), [], 'there is no such function')
})
