// Random claims, reservations, releases, reports and holds over two replicas that restart at will, against the simplest model there is.
import { HeddleError } from '@heddle/core'
import { MemoryStore } from '@heddle/store'
import test from 'ava'
import fc from 'fast-check'
import { call, claim, pciOf, pfs, type Replica, report, startReplica, vfs } from './testing/cluster.ts'

const perPf = 2
const owner = fc.integer({ min: 0, max: 5 }).map((index) => `e${index}`)
const pci = fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: perPf - 1 })).map(([pf, index]) => pciOf(pf, index))
const replica = fc.boolean()
const operation = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('claim' as const), owner, replica }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('named' as const), owner, pci, replica }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('reserve' as const), pci, replica }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('release' as const), owner, replica }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('unreserve' as const), pci, replica }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('state' as const), pci, state: fc.constantFrom('ready', 'dirty', 'foreign', 'quarantined'), replica }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('anew' as const), pci, replica }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('hold' as const), pf: fc.integer({ min: 0, max: 1 }), held: fc.boolean(), replica }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const), replica }) },
)

interface Modelled {
  owner: string
  reserved: boolean
  /** The VF was made anew under its owner. */
  lost: boolean
}

test('whatever happens in whatever order, a VF has one owner, an owner keeps its VF, none that is not ready is given, and what is free can be had', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 60 }), async (operations) => {
      const store = new MemoryStore()
      const replicas = [await startReplica(store), await startReplica(store)] as [Replica, Replica]
      const generations = new Map<string, number>()
      const states = new Map<string, string>()
      const held = new Set<string>()
      const model = new Map<string, Modelled>()
      const all = vfs(perPf).map((each) => each.pci)
      const now = () =>
        vfs(perPf).map((each) => {
          const known = generations.get(each.pci) ?? 0
          const state = states.get(each.pci) ?? 'ready'
          return { ...each, generation: `${each.generation}.${known}`, state: state === 'ready' ? 'new' : state }
        })
      const tell = (at: Replica) => report(at, { vfs: now(), pfs: pfs(perPf) })
      await tell(replicas[0])
      const claimOf = (name: string) => [...model].find(([, one]) => one.owner === name)
      const isUsable = (one: string) => (states.get(one) ?? 'ready') === 'ready' && !held.has(`0000:3b:00.${one[9]}`)
      const free = (name: string) => all.filter((one) => isUsable(one) && (!model.has(one) || model.get(one)?.owner === name))
      const give = (name: string, got: string) => {
        const old = claimOf(name)
        if (old !== undefined && old[0] !== got) {
          t.true(old[1].lost, 'an owner keeps its VF')
          if (old[1].reserved) model.set(old[0], { owner: '', reserved: true, lost: false })
          else model.delete(old[0])
        }
        if (old === undefined || old[1].lost) t.true(isUsable(got), `${got} is ${states.get(got)}`)
        const there = model.get(got)
        t.true(there === undefined || there.owner === name || (there.owner === '' && there.reserved), `${got} has two owners`)
        model.set(got, { owner: name, reserved: there?.reserved ?? false, lost: false })
      }
      for (const step of operations) {
        const at = replicas[step.replica ? 1 : 0]
        if (step.op === 'restart') replicas[step.replica ? 1 : 0] = await startReplica(store)
        else if (step.op === 'state') {
          states.set(step.pci, step.state)
          await tell(at)
        } else if (step.op === 'anew') {
          generations.set(step.pci, (generations.get(step.pci) ?? 0) + 1)
          states.delete(step.pci)
          const there = model.get(step.pci)
          if (there !== undefined && there.owner !== '') model.set(step.pci, { ...there, lost: true })
          await tell(at)
        } else if (step.op === 'hold') {
          const pf = `0000:3b:00.${step.pf}`
          if (!step.held) {
            await call(at, 'unholdPf', { host: 'a', pf })
            held.delete(pf)
            continue
          }
          const inUse = [...model].some(([one, { lost }]) => one[9] === String(step.pf) && !lost)
          const outcome = await call(at, 'holdPf', { host: 'a', pf, epoch: 'first' }).then(
            () => 'held',
            (error: unknown) => HeddleError.from(error).code,
          )
          t.is(outcome, inUse ? 'pf-in-use' : 'held')
          if (inUse) held.delete(pf)
          else held.add(pf)
        } else if (step.op === 'release') {
          const there = claimOf(step.owner)
          t.is((await call(at, 'release', { owner: step.owner })).claim?.pci, there?.[0])
          // Who releases has put the VF back; what is recorded of a claimed one is that already.
          if (there?.[1].lost === false && states.get(there[0]) === 'dirty') states.delete(there[0])
          if (there?.[1].reserved) model.set(there[0], { owner: '', reserved: true, lost: false })
          else if (there !== undefined) model.delete(there[0])
        } else if (step.op === 'unreserve') {
          await call(at, 'release', { host: 'a', pci: step.pci })
          const there = model.get(step.pci)
          if (there?.owner === '') model.delete(step.pci)
          else if (there !== undefined) model.set(step.pci, { ...there, reserved: false })
        } else if (step.op === 'reserve') {
          const there = model.get(step.pci)
          const outcome = await call(at, 'claim', { host: 'a', pci: step.pci, reserveFor: 'kubelet' }).then(
            () => 'reserved',
            (error: unknown) => HeddleError.from(error).code,
          )
          const can = there?.reserved || (there === undefined && isUsable(step.pci))
          t.is(outcome === 'reserved', can)
          if (can) model.set(step.pci, there ?? { owner: '', reserved: true, lost: false })
        } else {
          const mine = claimOf(step.owner)
          const keeps = mine !== undefined && !mine[1].lost
          const outcome = await claim(at, step.owner, step.op === 'named' ? { pci: step.pci } : {}).catch((error: unknown) => HeddleError.from(error))
          if (!(outcome instanceof Error)) {
            if (step.op === 'named') t.is(outcome.pci, step.pci)
            give(step.owner, outcome.pci)
          } else if (step.op === 'claim') {
            t.is(outcome.code, 'vf-exhausted')
            t.false(keeps)
            t.deepEqual(free(step.owner), [], 'called exhausted with VFs free')
          } else {
            t.true(['vf-in-use', 'vf-quarantined'].includes(outcome.code), outcome.message)
            const there = model.get(step.pci)
            const could = isUsable(step.pci) && (there === undefined || there.owner === step.owner || (there.owner === '' && there.reserved))
            t.true(keeps ? mine?.[0] !== step.pci : !could, outcome.message)
          }
        }
      }
      const { vfs: listed } = await call(replicas[0], 'listVfs', {})
      const seen = (listed ?? []).flatMap((each) => (each.claim ? [[each.pci, each.claim.owner, each.claim.reservedBy !== '']] : []))
      t.deepEqual(
        seen,
        [...model]
          .filter(([, { lost }]) => !lost)
          .map(([one, { owner: name, reserved }]) => [one, name, reserved])
          .sort(),
      )
    }),
    { numRuns: 60 },
  )
})
