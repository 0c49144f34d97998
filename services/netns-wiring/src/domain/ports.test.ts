import test from 'ava'
import { boundPorts, checkMapping, choosePort, elementsOf, mappingOf } from './ports.ts'

const web = { protocol: 'tcp', hostAddress: '', hostPort: 8080, containerPort: 80 }

test('a port of every host address leads to each of the endpoint addresses', (t) => {
  t.deepEqual(
    elementsOf(web, ['10.0.0.2', 'fd00::2']).map(({ map }) => map),
    ['any4', 'any6'],
  )
})

test('a given host address leads to the endpoint address of its family only', (t) => {
  t.deepEqual(
    elementsOf({ ...web, hostAddress: '192.0.2.1' }, ['10.0.0.2', 'fd00::2']).map(({ map }) => map),
    ['given4'],
  )
  t.deepEqual(
    elementsOf({ ...web, hostAddress: '::' }, ['10.0.0.2', 'fd00::2']).map(({ map }) => map),
    ['any6'],
  )
})

test('an element tells the mapping it was made of', (t) => {
  for (const port of [web, { ...web, hostAddress: '192.0.2.1' }]) {
    const [element] = elementsOf(port, ['10.0.0.2'])
    t.deepEqual(element && mappingOf(element), { port, address: '10.0.0.2' })
  }
})

test('a chosen port is free, and none left is said', (t) => {
  t.is(
    choosePort(
      (port) => port !== 40000,
      () => 0.99,
    ),
    40000,
  )
  t.throws(() => choosePort(() => true), { message: /no free host port/ })
})

test('a mapping that cannot be is refused with its field', (t) => {
  t.throws(() => checkMapping({ ...web, protocol: 'icmp' }, 0), { message: /icmp/ })
  t.throws(() => checkMapping({ ...web, containerPort: 0 }, 1), { message: /port 0/ })
  t.throws(() => checkMapping({ ...web, hostPort: 70000 }, 1), { message: /70000/ })
  t.throws(() => checkMapping({ ...web, hostAddress: 'localhost' }, 1), { message: /localhost/ })
})

test('listening TCP sockets and bound UDP sockets hold their ports, connected TCP ones do not', (t) => {
  const text = `  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000
   1: 0100007F:0050 0100007F:A000 01 00000000:00000000
`
  t.deepEqual(boundPorts('tcp', text), ['tcp 8080'])
  t.deepEqual(boundPorts('udp', text), ['udp 8080', 'udp 80'])
})
