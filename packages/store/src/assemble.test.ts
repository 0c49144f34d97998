import test from 'ava'
import fc from 'fast-check'
import { RevisionAssembler } from './assemble.ts'
import type { WatchEvent, WatchReply } from './port.ts'

const reply = (parts: Partial<WatchReply>): WatchReply => ({
  id: 1,
  created: false,
  cancelled: false,
  cancelReason: '',
  compactRevision: 0n,
  fragment: false,
  revision: 0n,
  events: [],
  ...parts,
})

function eventOf(revision: number, index: number): WatchEvent {
  const record = { key: `k${index}`, value: 'v', createRevision: BigInt(revision), modRevision: BigInt(revision) }
  return { kind: index % 3 === 2 ? 'delete' : 'put', record }
}

test('however replies are fragmented, cut and repeated, each revision comes out once, whole and in order', (t) => {
  const revisions = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 })), { minLength: 1, maxLength: 15 })
  fc.assert(
    fc.property(revisions, fc.infiniteStream(fc.nat(4)), (steps, random) => {
      const next = () => random.next().value as number
      let revision = 10
      const all = steps.map(([gap, size]) => {
        revision += gap
        return { revision, events: Array.from({ length: size }, (_, index) => eventOf(revision, index)) }
      })
      const assembler = new RevisionAssembler(10n)
      const out: { revision: bigint; count: number }[] = []
      const take = (parts: Partial<WatchReply>) => {
        for (const batch of assembler.accept(reply(parts))) out.push({ revision: batch.revision, count: batch.puts.length + batch.deletes.length })
      }
      while (assembler.revision < BigInt(revision)) {
        // A stream: created, then what follows the position, in replies of whole revisions, in fragments, perhaps cut.
        take({ created: true, revision: BigInt(revision) })
        const rest = all.filter((each) => BigInt(each.revision) > assembler.revision)
        for (let cut = false; rest.length > 0 && !cut; ) {
          const events = rest.splice(0, 1 + next()).flatMap((each) => each.events)
          while (events.length > 0 && !cut) {
            const part = events.splice(0, 1 + next())
            take({ events: part, fragment: events.length > 0, revision: BigInt(revision) })
            cut = next() === 0
          }
        }
        assembler.discardUnfinished()
      }
      t.deepEqual(
        out,
        all.map((each) => ({ revision: BigInt(each.revision), count: each.events.length })),
      )
    }),
  )
})

test('only a progress notification moves the position without events', (t) => {
  const assembler = new RevisionAssembler(5n)
  assembler.accept(reply({ created: true, revision: 9n }))
  assembler.accept(reply({ cancelled: true, revision: 9n }))
  assembler.accept(reply({ events: [eventOf(6, 0)], fragment: true, revision: 9n }))
  assembler.discardUnfinished()
  t.is(assembler.revision, 5n)
  assembler.accept(reply({ revision: 8n }))
  t.is(assembler.revision, 8n)
  assembler.accept(reply({ revision: 7n }))
  t.is(assembler.revision, 8n)
})
