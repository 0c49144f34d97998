import { Endpoint } from '@heddle/contract'
import test from 'ava'
import fc from 'fast-check'
import { judge, type Observation, type Presence } from './judge.ts'

const rules = { graceMs: 30_000, reservedGraceMs: 600_000, waitingGraceMs: 120_000 }
const present = (ids: readonly string[], how: Presence = 'in use') => new Map(ids.map((id) => [id, how]))
const endpoint = (state = 'wired', revision = 1n, id = 'e1') => Endpoint.fromPartial({ id, state, revision, host: 'h1' })

/** Runs rounds ten seconds apart; each says which endpoint ids the host has, or undefined for silence. Answers the round that deletes. */
function rounds(record: (round: number) => Endpoint, answers: readonly (readonly string[] | ReadonlyMap<string, Presence> | undefined)[]): number {
  let before: ReadonlyMap<string, Observation> = new Map()
  for (const [round, answer] of answers.entries()) {
    const attached = new Map(answer === undefined ? [] : [['h1', answer instanceof Map ? answer : present(answer as readonly string[])]])
    const verdict = judge([record(round)], attached, before, round * 10_000, rules)
    if (verdict.delete.length > 0) return round
    before = verdict.observations
  }
  return -1
}

const nothing: readonly string[] = []
const many = (count: number, answer: readonly string[] | undefined) => Array.from({ length: count }, () => answer)

test('an endpoint whose interface is missing goes after the grace, not before', (t) => {
  t.is(
    rounds(() => endpoint(), many(10, nothing)),
    3,
  )
})

test('one that was long there goes after two rounds without it', (t) => {
  t.is(
    rounds(() => endpoint(), [...many(10, ['e1']), ...many(5, nothing)]),
    11,
  )
})

test('a host that does not answer loses nothing, however long, and silence between two misses starts the count anew', (t) => {
  t.is(
    rounds(() => endpoint(), many(200, undefined)),
    -1,
  )
  t.is(
    rounds(
      () => endpoint(),
      Array.from({ length: 40 }, (_, round) => (round % 2 === 0 ? nothing : undefined)),
    ),
    -1,
  )
})

test('an interface that comes back saves its endpoint', (t) => {
  t.is(
    rounds(
      () => endpoint(),
      Array.from({ length: 40 }, (_, round) => (round % 2 === 0 ? nothing : ['e1'])),
    ),
    -1,
  )
})

test('a reserved endpoint has ten minutes, one that is detaching no more than a wired one', (t) => {
  t.is(
    rounds(() => endpoint('reserved'), many(100, nothing)),
    60,
  )
  t.is(
    rounds(() => endpoint('detaching'), many(100, nothing)),
    3,
  )
})

test('a record that is written again is young again', (t) => {
  t.is(
    rounds((round) => endpoint('wired', BigInt(Math.floor(round / 3))), many(60, nothing)),
    -1,
  )
})

test('an interface that waits on the host for two minutes at a stretch is in no sandbox any more, however long it was in one; a reserved one has its ten minutes', (t) => {
  const waiting = present(['e1'], 'waiting')
  const times = (count: number) => Array.from({ length: count }, () => waiting)
  t.is(
    rounds(() => endpoint(), [...many(20, ['e1']), ...times(20)]),
    32,
  )
  t.is(
    rounds(
      () => endpoint(),
      Array.from({ length: 60 }, (_, round) => (round % 12 === 0 ? ['e1'] : waiting)),
    ),
    -1,
    'dockerd has taken it in between',
  )
  t.is(
    rounds(() => endpoint('reserved'), times(100)),
    60,
  )
})

test('nothing is ever deleted that its host had in one of the last two rounds, or whose host was silent in one', (t) => {
  const answer = fc.option(fc.subarray(['e1', 'e2']), { nil: undefined })
  fc.assert(
    fc.property(fc.array(answer, { maxLength: 40 }), (answers) => {
      let before: ReadonlyMap<string, Observation> = new Map()
      for (const [round, ids] of answers.entries()) {
        const attached = new Map(ids === undefined ? [] : [['h1', present(ids)]])
        const verdict = judge([endpoint(), endpoint('wired', 1n, 'e2')], attached, before, round * 10_000, rules)
        for (const { id } of verdict.delete) {
          for (const recent of [answers[round], answers[round - 1]]) t.true(recent !== undefined && !recent.includes(id))
        }
        before = verdict.observations
      }
    }),
  )
})
