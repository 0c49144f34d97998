import { Endpoint, Network } from '@heddle/contract'
import test from 'ava'
import fc from 'fast-check'
import { keys } from '../keys.ts'
import { Directory } from './directory.ts'
import { writeEndpoint, writeNetwork } from './records.ts'

const stored = (key: string, value: string, modRevision = 1n) => ({ key, value, createRevision: 1n, modRevision })
const all = { id: '', networkId: '', host: '' }

test('a network is found by id, name and alias, and no longer when its record is gone', (t) => {
  const directory = new Directory()
  directory.set(keys.network('n1'), stored(keys.network('n1'), writeNetwork(Network.fromPartial({ id: 'n1', name: 'blue' })), 7n))
  directory.set(keys.alias('docker:h:x'), stored(keys.alias('docker:h:x'), '{"networkId":"n1"}'))
  t.is(directory.network(directory.networkIdOfName('blue') ?? '')?.revision, 7n)
  t.is(directory.networkIdOfAlias('docker:h:x'), 'n1')
  directory.set(keys.network('n1'), undefined)
  directory.set(keys.alias('docker:h:x'), undefined)
  t.is(directory.network('n1'), undefined)
  t.is(directory.networkIdOfName('blue'), undefined)
  t.is(directory.networkIdOfAlias('docker:h:x'), undefined)
})

test('a name taken over by a newer network stays found when the older record goes late', (t) => {
  const directory = new Directory()
  for (const id of ['n1', 'n2']) directory.set(keys.network(id), stored(keys.network(id), writeNetwork(Network.fromPartial({ id, name: 'blue' }))))
  directory.set(keys.network('n1'), undefined)
  t.is(directory.networkIdOfName('blue'), 'n2')
})

test('whatever came and went, every filter answers what a search through all records would', (t) => {
  const step = fc.record({ id: fc.constantFrom('e1', 'e2', 'e3', 'e4'), host: fc.constantFrom('h1', 'h2'), gone: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const directory = new Directory()
      const truth = new Map<string, Endpoint>()
      for (const { id, host, gone } of steps) {
        const endpoint = Endpoint.fromPartial({ id, networkId: id < 'e3' ? 'n1' : 'n2', host, revision: 1n })
        const key = keys.endpoint(endpoint.networkId, id)
        if (gone) truth.delete(id)
        else truth.set(id, endpoint)
        directory.set(key, gone ? undefined : stored(key, writeEndpoint(endpoint)))
      }
      const sorted = (endpoints: Iterable<Endpoint>) => [...endpoints].toSorted((a, b) => (a.id < b.id ? -1 : 1))
      for (const id of ['', 'e1']) {
        for (const networkId of ['', 'n1', 'n2', 'n3']) {
          for (const host of ['', 'h1', 'h3']) {
            const expected = [...truth.values()].filter(
              (e) => (id || e.id) === e.id && (networkId || e.networkId) === e.networkId && (host || e.host) === e.host,
            )
            t.deepEqual(sorted(directory.endpoints({ id, networkId, host })), sorted(expected))
          }
        }
      }
      t.deepEqual([...directory.hosts].toSorted(), [...new Set([...truth.values()].map((e) => e.host))].toSorted())
      t.is(directory.endpoints(all).length, truth.size)
    }),
  )
})
