import test from 'ava'
import { count, duration, facts, table, timestamp } from './output.ts'

test('columns are as wide as their widest cell, empty cells are a dash, lines have no trailing blanks', (t) => {
  t.is(
    table(
      ['NAME', 'X'],
      [
        ['a', '1'],
        ['longer', ''],
      ],
    ),
    'NAME    X\na       1\nlonger  -\n',
  )
})

test('facts without a value are left out', (t) => {
  t.is(
    facts([
      ['name', 'blue'],
      ['VNI', ''],
      ['kind', 'overlay'],
    ]),
    'name:  blue\nkind:  overlay\n',
  )
})

test('durations have three digits at most', (t) => {
  t.deepEqual([0.04, 3.456, 42.42, 512.3, 1234].map(duration), ['0.04 ms', '3.46 ms', '42.4 ms', '512 ms', '1.23 s'])
})

test('a saturated number of free addresses is said to be unlimited', (t) => {
  t.deepEqual([count(253n), count(2n ** 63n - 1n)], ['253', 'unlimited'])
})

test('times are shown in UTC without fractions', (t) => {
  t.is(timestamp('2026-01-31T12:30:59.123Z'), '2026-01-31 12:30:59')
})
