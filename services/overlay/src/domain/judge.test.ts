import test from 'ava'
import { judgeClaims, type Observation } from './judge.ts'

const claim = { networkId: 'blue', revision: 1n }
const none: ReadonlySet<string> = new Set()

test('a claim is freed when it has been without its network for the grace, and not before', (t) => {
  const first = judgeClaims([claim], none, new Map(), 0, 100)
  t.deepEqual(first.free, [])
  t.deepEqual(judgeClaims([claim], none, first.observations, 99, 100).free, [])
  t.deepEqual(judgeClaims([claim], none, first.observations, 100, 100).free, [claim])
})

test('a network that appears, or a claim made anew, starts the count again', (t) => {
  const first = judgeClaims([claim], none, new Map(), 0, 100)
  const appeared: ReadonlyMap<string, Observation> = judgeClaims([claim], new Set(['blue']), first.observations, 50, 100).observations
  t.deepEqual(judgeClaims([claim], none, appeared, 200, 100).free, [])
  t.deepEqual(judgeClaims([{ ...claim, revision: 2n }], none, first.observations, 200, 100).free, [])
})

test('even without a grace a claim has to be seen twice', (t) => {
  const first = judgeClaims([claim], none, new Map(), 0, 0)
  t.deepEqual(first.free, [])
  t.deepEqual(judgeClaims([claim], none, first.observations, 0, 0).free, [claim])
})
