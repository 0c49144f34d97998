import { contains, formatPrefix, type Prefix, parsePrefix } from '@heddle/net'
import test from 'ava'
import { choosePrefix } from './default-pools.ts'

test('default pools are /24s of 10.128.0.0/9 and /64s of fd00::/8', (t) => {
  for (const seed of ['blue', 'docker-h1', 'docker-h2']) {
    const v4 = choosePrefix(4, seed, []) as Prefix
    t.true(contains(parsePrefix('10.128.0.0/9'), v4), formatPrefix(v4))
    t.is(v4.length, 24)
    const v6 = choosePrefix(6, seed, []) as Prefix
    t.true(contains(parsePrefix('fd00::/8'), v6), formatPrefix(v6))
    t.is(v6.length, 64)
  }
})

test('each next pool is another one until none is left', (t) => {
  const taken: Prefix[] = []
  for (let round = 0; round < 300; round++) taken.push(choosePrefix(4, 'blue', taken) as Prefix)
  t.is(new Set(taken.map(formatPrefix)).size, 300)
  t.is(choosePrefix(4, 'blue', [parsePrefix('10.0.0.0/8')]), undefined)
})
