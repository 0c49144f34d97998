import test from 'ava'
import fc from 'fast-check'
import { allPages, pageAfter } from './pages.ts'

const shape = { keyOf: (key: string) => key, bytesOf: (key: string) => key.length }

test('all pages together are the list in the order of its keys, and none is larger than it may be unless it is one entry', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 20 })), fc.integer({ min: 1, max: 60 }), async (keys, maxBytes) => {
      const all = await allPages(
        async (pageToken) => {
          const page = pageAfter(pageToken, keys, shape, maxBytes)
          t.true(page.entries.length === 1 || page.entries.join('').length <= maxBytes)
          return page
        },
        ({ entries }) => entries,
      )
      t.deepEqual(
        all,
        keys.toSorted((a, b) => (a < b ? -1 : 1)),
      )
    }),
  )
})

test('what comes and goes between two pages moves nothing else out of them', async (t) => {
  const entries = new Set(['b', 'd', 'f', 'h'])
  const all = await allPages(
    async (pageToken) => {
      if (pageToken === 'd') for (const gone of ['b', 'd']) entries.delete(gone)
      if (pageToken === 'd') entries.add('a')
      return pageAfter(pageToken, entries, shape, 2)
    },
    (page) => page.entries,
  )
  t.deepEqual(all, ['b', 'd', 'f', 'h'])
})
