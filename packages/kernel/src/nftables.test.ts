import test from 'ava'
import { encodeValues } from './nfnl/values.ts'
import { openKernel } from './open.ts'
import { sh, withScratch } from './testing/namespaces.ts'
import type { NftElement, NftSet, NftValue } from './types.ts'

const kernel = openKernel()
test.after.always(() => kernel.close())

const v4 = (value: string): NftValue => ({ type: 'ipv4_addr', value })
const port = (value: number): NftValue => ({ type: 'inet_service', value })
const strangers = (vtep: string, vni: number): NftElement => ({ key: [v4(vtep), { type: 'u24', value: vni }] })
const table = `table inet heddle {
  set members { typeof ip saddr . @th,96,24; }
  set names { type ifname; }
  set six { type ipv6_addr; }
  map published { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
}
`
const set = (name: string): NftSet => ({ family: 'inet', table: 'heddle', set: name })
const listed = (ns: { name: string }, kind: 'set' | 'map', name: string) =>
  sh('ip', 'netns', 'exec', ns.name, 'nft', 'list', kind, 'inet', 'heddle', name).replaceAll(/\s+/g, ' ')

test('a ruleset is loaded in one transaction, and what nft says of a wrong one is told', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    const error = await t.throwsAsync(kernel.nftLoad(ns, `${table}add rule inet heddle nowhere accept\n`, call), { code: 'kernel-refused' })
    t.regex(error?.message ?? '', /No such file or directory/)
    t.is(sh('ip', 'netns', 'exec', ns.name, 'nft', 'list', 'tables').trim(), '')
    await kernel.nftLoad(ns, table, call)
    t.is(sh('ip', 'netns', 'exec', ns.name, 'nft', 'list', 'tables').trim(), 'table inet heddle')
    t.regex(sh('nft', 'list', 'tables'), /^(?!.*inet heddle\n)/s)
  }))

test('set elements of every type go in and out as nft itself shows them', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.nftLoad(ns, table, call)
    await kernel.nftElements(ns, set('members'), { add: [strangers('192.0.2.1', 4097), strangers('192.0.2.2', 0xfffffe)] }, call)
    await kernel.nftElements(ns, set('names'), { add: [{ key: [{ type: 'ifname', value: 'hd0123456789abc' }] }] }, call)
    await kernel.nftElements(ns, set('six'), { add: [{ key: [{ type: 'ipv6_addr', value: 'fd00::1' }] }] }, call)
    const key = [{ type: 'inet_proto', value: 6 }, v4('198.51.100.7'), port(8080)] as const
    await kernel.nftElements(ns, set('published'), { add: [{ key, data: [v4('10.0.0.2'), port(80)] }] }, call)
    t.regex(listed(ns, 'set', 'members'), /192\.0\.2\.1 \. (0x1001|4097).*192\.0\.2\.2 \. (0xfffffe|16777214)|192\.0\.2\.2.*192\.0\.2\.1/)
    t.regex(listed(ns, 'set', 'names'), /"hd0123456789abc"/)
    t.regex(listed(ns, 'set', 'six'), /fd00::1/)
    t.regex(listed(ns, 'map', 'published'), /tcp \. 198\.51\.100\.7 \. 8080 : 10\.0\.0\.2 \. 80/)
    const elements = await kernel.nftList(ns, set('published'), call)
    t.deepEqual(
      elements.map(({ key: k, data }) => [[...k], [...data]]),
      [[[...encodeValues(key)], [...encodeValues([v4('10.0.0.2'), port(80)])]]],
    )
    await kernel.nftElements(ns, set('published'), { remove: [{ key }] }, call)
    t.deepEqual(await kernel.nftList(ns, set('published'), call), [])
  }))

test('adding what is there and removing what is not succeed, and other data replaces', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.nftLoad(ns, table, call)
    const [one, two, three] = [strangers('192.0.2.1', 1), strangers('192.0.2.2', 1), strangers('192.0.2.3', 1)]
    await kernel.nftElements(ns, set('members'), { add: [one] }, call)
    await kernel.nftElements(ns, set('members'), { add: [one, two], remove: [three, one] }, call)
    const keys = async () => (await kernel.nftList(ns, set('members'), call)).map(({ key }) => Buffer.from(key).toString('hex')).sort()
    t.deepEqual(await keys(), [one, two].map(({ key }) => Buffer.from(encodeValues(key)).toString('hex')).sort())
    const key = [{ type: 'inet_proto', value: 17 }, v4('198.51.100.7'), port(53)] as const
    for (const address of ['10.0.0.2', '10.0.0.3', '10.0.0.3']) {
      await kernel.nftElements(ns, set('published'), { add: [{ key, data: [v4(address), port(53)] }] }, call)
      t.regex(listed(ns, 'map', 'published'), new RegExp(`: ${address.replaceAll('.', '\\.')} `))
    }
  }))

test('a transaction with one bad element changes nothing, and a missing set is named', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.nftLoad(ns, table, call)
    const wrong: NftElement = { key: [v4('192.0.2.9')] }
    t.like(await t.throwsAsync(kernel.nftElements(ns, set('members'), { add: [strangers('192.0.2.1', 1), wrong] }, call)), { code: 'kernel-refused' })
    t.deepEqual(await kernel.nftList(ns, set('members'), call), [])
    const error = await t.throwsAsync(kernel.nftElements(ns, set('nothing'), { add: [wrong] }, call))
    t.like(error, { code: 'kernel-refused', errno: 'ENOENT' })
    t.regex(error?.message ?? '', /inet heddle nothing/)
    t.like(await t.throwsAsync(kernel.nftElements(ns, set('members'), { add: [strangers('192.0.2.1', 2 ** 24)] }, call)), { code: 'invalid-argument' })
  }))

test('five thousand elements go in as one transaction and are all listed', (t) =>
  withScratch(kernel, async ({ call, namespace }) => {
    const ns = await namespace()
    await kernel.nftLoad(ns, table, call)
    const add = Array.from({ length: 5000 }, (_, number) => strangers(`10.0.${number >> 8}.${number & 255}`, number))
    await kernel.nftElements(ns, set('members'), { add }, call)
    t.is((await kernel.nftList(ns, set('members'), call)).length, 5000)
    await kernel.nftElements(ns, set('members'), { remove: add }, call)
    t.is((await kernel.nftList(ns, set('members'), call)).length, 0)
  }))
