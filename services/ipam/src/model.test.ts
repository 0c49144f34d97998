// Random claims, adoptions and releases over two replicas that restart at will, against the simplest model there is.
import { HeddleError } from '@heddle/core'
import { MemoryStore } from '@heddle/store'
import test from 'ava'
import fc from 'fast-check'
import { allocate, call, createPool, type Replica, startReplica } from './testing/cluster.ts'

const size = 6
const owner = fc.integer({ min: 0, max: 9 }).map((index) => `e${index}`)
const replica = fc.boolean()
const last = fc.integer({ min: 1, max: size })
const operation = fc.oneof(
  fc.record({ op: fc.constant('allocate' as const), owner, replica }),
  fc.record({ op: fc.constant('static' as const), owner, replica, last }),
  fc.record({ op: fc.constant('release' as const), owner, replica }),
  fc.record({ op: fc.constant('adopt' as const), owner, replica, last }),
  fc.record({ op: fc.constant('restart' as const), replica }),
)

test('whatever happens in whatever order, an address has one owner, an owner keeps its address, and what is free can be had', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 60 }), async (operations) => {
      const store = new MemoryStore()
      const replicas = [await startReplica(store), await startReplica(store)] as [Replica, Replica]
      // Six addresses for endpoints, .1 to .6.
      const pool = await createPool(replicas[0], '10.1.0.0/29')
      const model = new Map<string, string>()
      const holder = (address: string) => [...model].find(([, held]) => held === address)?.[0]
      for (const step of operations) {
        const at = replicas[step.replica ? 1 : 0]
        if (step.op === 'restart') replicas[step.replica ? 1 : 0] = await startReplica(store)
        else if (step.op === 'release') {
          t.is((await call(at, 'release', { owner: step.owner })).released, model.delete(step.owner) ? 1 : 0)
        } else {
          const held = model.get(step.owner)
          const address = step.op === 'allocate' ? '' : `10.1.0.${step.last}`
          const outcome = await (step.op === 'adopt'
            ? call(at, 'adopt', { owner: step.owner, host: 'h1', addresses: [{ poolIds: [pool], address }] }).then(
                ({ allocations }) => allocations?.[0]?.claim?.address ?? '',
              )
            : allocate(at, step.owner, [address === '' ? pool : [pool, address]]).then(([got]) => got?.address ?? '')
          ).catch((error: unknown) => HeddleError.from(error))
          if (typeof outcome === 'string') {
            if (step.op === 'adopt' && held !== undefined && held !== outcome) {
              // Adopting a second address is allowed; the model follows one, so give the second back.
              t.is(holder(outcome), undefined)
              await call(at, 'release', { owner: step.owner })
              model.delete(step.owner)
              continue
            }
            if (held !== undefined) t.is(outcome, held, 'an owner keeps its address')
            else t.is(holder(outcome), undefined, `${outcome} has two owners`)
            if (address !== '') t.is(outcome, address)
            model.set(step.owner, outcome)
          } else if (outcome.code === 'pool-exhausted') t.is(model.size, size, 'called exhausted with addresses free')
          else {
            t.is(outcome.code, 'address-taken')
            t.true(holder(address) !== undefined || held !== undefined, `${address} was free`)
          }
        }
      }
      const { claims } = await call(replicas[0], 'listClaims', {})
      t.deepEqual((claims ?? []).map((claim) => [claim.owner, claim.address]).sort(), [...model].sort())
    }),
    { numRuns: 60 },
  )
})
