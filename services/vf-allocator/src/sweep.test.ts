// What the sweep gives up, and what it leaves alone.
import { HeddleError, withCall } from '@heddle/core'
import test from 'ava'
import { ClaimSweep } from './sweep.ts'
import { call, claim, pciOf, pfs, report, single, vf, vfs } from './testing/cluster.ts'

const graceMs = 60_000

async function setUp() {
  const clock = {
    nowMs: 0,
    monotonicMs: () => clock.nowMs,
    wallMs: () => clock.nowMs,
    timestamp: () => new Date(clock.nowMs).toISOString(),
    after: () => () => {},
  }
  const one = await single(clock)
  const recorded = new Set<string>()
  const unfenceable = new Set<string>()
  const asked: { owner?: string | undefined; claimRevision?: bigint | undefined }[] = []
  const sweep = new ClaimSweep(
    one.repo,
    {
      listEndpoints: async () => ({ endpoints: [...recorded].map((id) => ({ id })) as never, nextPageToken: '' }),
      async fence({ owners = [] }) {
        asked.push(...owners)
        return { fencedOwners: owners.map(({ owner = '' }) => owner).filter((owner) => !recorded.has(owner) && !unfenceable.has(owner)) }
      },
    },
    { graceMs },
  )
  const round = () => withCall({ timeoutMs: 5_000 }, (within) => sweep.round(within))
  const claims = async () => ((await call(one, 'listVfs', {})).vfs ?? []).flatMap((each) => each.claim ?? [])
  return { one, clock, recorded, unfenceable, asked, round, claims }
}

test('an old claim without an endpoint is marked once it is fenced, never freed; the young, the recorded and the unfenced are left alone', async (t) => {
  const { one, clock, recorded, unfenceable, asked, round, claims } = await setUp()
  const { revision } = await claim(one, 'left')
  await claim(one, 'recorded')
  await claim(one, 'attaching')
  recorded.add('recorded')
  unfenceable.add('attaching')
  clock.nowMs = graceMs - 1
  t.deepEqual(await round(), { releasing: 0, freed: 0 })
  t.deepEqual(asked, [])
  clock.nowMs = graceMs
  await claim(one, 'young')
  t.deepEqual(await round(), { releasing: 1, freed: 0 })
  t.deepEqual(asked.map(({ owner }) => owner).sort(), ['attaching', 'left'])
  t.is(asked.find(({ owner }) => owner === 'left')?.claimRevision, revision)
  t.deepEqual(
    (await claims()).filter(({ releasing }) => releasing).map(({ owner }) => owner),
    ['left'],
  )
  const error = await t.throwsAsync(claim(one, 'left'), { instanceOf: HeddleError })
  t.true(HeddleError.is(error) && error.code === 'claim-fenced' && error.retryable)
  const told = (await report(one)).vfs?.flatMap((each) => (each.claim?.releasing ? [each.claim] : [])) ?? []
  t.deepEqual(
    told.map(({ owner }) => owner),
    ['left'],
  )
  await call(one, 'release', { owner: 'left', revision: told[0]?.revision ?? 0n })
  t.deepEqual((await claims()).map(({ owner }) => owner).sort(), ['attaching', 'recorded', 'young'])
})

test('a claim whose VF is gone is freed once its endpoint is, and not before', async (t) => {
  const { one, clock, recorded, round, claims } = await setUp()
  await claim(one, 'e1', { pci: pciOf(0, 0) })
  await claim(one, 'e2', { pci: pciOf(0, 1) })
  recorded.add('e1').add('e2')
  // The first is made anew, the second not at all.
  await report(one, {
    vfs: vfs().flatMap((each) => (each.pci === pciOf(0, 0) ? [vf(0, 0, { generation: 'boot:anew' })] : each.pci === pciOf(0, 1) ? [] : [each])),
  })
  clock.nowMs = 2 * graceMs
  t.deepEqual(await round(), { releasing: 0, freed: 0 })
  recorded.clear()
  t.deepEqual(await round(), { releasing: 0, freed: 2 })
  t.deepEqual(await claims(), [])
  t.is((await claim(one, 'e3', { pci: pciOf(0, 0) })).generation, 'boot:anew')
})

test('a claim that is being released and whose VF goes meanwhile is freed', async (t) => {
  const { one, clock, round } = await setUp()
  await claim(one, 'e1', { pci: pciOf(0, 0) })
  clock.nowMs = graceMs
  t.is((await round()).releasing, 1)
  await report(one, { vfs: [], pfs: pfs(0) })
  t.is((await round()).freed, 0)
  clock.nowMs = 2 * graceMs
  t.is((await round()).freed, 1)
})

test('a reservation outlives a restart of the host, but not its VF', async (t) => {
  const { one, clock, round, claims } = await setUp()
  await call(one, 'claim', { host: 'a', pci: pciOf(0, 0), reserveFor: 'kubelet' })
  clock.nowMs = graceMs
  await report(one, { epoch: 'second', vfs: [] })
  t.is((await round()).freed, 0)
  await report(one, { epoch: 'second', vfs: vfs().map((each) => ({ ...each, generation: `reboot:${each.pci}` })) })
  clock.nowMs = 3 * graceMs
  t.is((await round()).freed, 0)
  t.deepEqual(
    (await claims()).map(({ reservedBy }) => reservedBy),
    ['kubelet'],
  )
  await report(one, { epoch: 'second', vfs: [] })
  await round()
  clock.nowMs = 4 * graceMs
  t.is((await round()).freed, 1)
})

test('when networks does not answer for a host, its claims are left alone', async (t) => {
  const { one, clock, claims } = await setUp()
  await claim(one, 'e1')
  clock.nowMs = graceMs
  const away = async () => Promise.reject(new HeddleError('unavailable', 'networks is away'))
  const sweep = new ClaimSweep(one.repo, { listEndpoints: away, fence: away }, { graceMs })
  await t.throwsAsync(
    withCall({ timeoutMs: 1_000 }, (within) => sweep.round(within)),
    { message: 'networks is away' },
  )
  t.deepEqual(
    (await claims()).map(({ releasing }) => releasing),
    [false],
  )
})
