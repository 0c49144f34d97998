import test from 'ava'
import { bytes, golden, hex } from '../testing/golden.ts'
import type { VfInfo } from '../types.ts'
import * as c from './constants.ts'
import { changeAltName, newLink, setLink } from './link-build.ts'
import { readAltNames, readLink } from './link-parse.ts'
import { getVfs, readVfs, setVf, type VfSettings } from './vf.ts'
import { InvalidValue, MalformedMessage, MessageReader, MessageWriter } from './wire.ts'

golden('every setting of a VF in one request, in the order in which the kernel takes them', (t) => {
  const settings: VfSettings = {
    mac: '02:00:00:00:00:09',
    vlan: { id: 100, qos: 5, protocol: '802.1q' },
    rate: { min: 10, max: 200 },
    spoofchk: true,
    trust: true,
    linkState: 'disable',
  }
  t.is(
    bytes((writer) => setVf(writer, 7, 3, 3, settings)),
    hex(
      '94000000 1300 0500 07000000 00000000', // SETLINK, REQUEST|ACK
      '00 00 0000 03000000 00000000 00000000', // ifinfomsg: the PF
      '7400 1600 7000 0100', // IFLA_VFINFO_LIST, IFLA_VF_INFO
      '2800 0100 03000000 0200 00000009 0000 000000000000000000000000000000000000000000000000', // IFLA_VF_MAC, 32 bytes
      '1000 0200 03000000 64000000 05000000', // IFLA_VF_VLAN
      '1000 0600 03000000 0a000000 c8000000', // IFLA_VF_RATE
      '0c00 0400 03000000 01000000', // IFLA_VF_SPOOFCHK
      '0c00 0500 03000000 02000000', // IFLA_VF_LINK_STATE
      '0c00 0900 03000000 01000000', // IFLA_VF_TRUST
    ),
  )
})

golden('an 802.1ad VLAN goes in a list, its protocol in network order', (t) => {
  t.is(
    bytes((writer) => setVf(writer, 7, 3, 3, { vlan: { id: 100, qos: 5, protocol: '802.1ad' } })),
    hex(
      '40000000 1300 0500 07000000 00000000',
      '00 00 0000 03000000 00000000 00000000',
      '2000 1600 1c00 0100', // IFLA_VFINFO_LIST, IFLA_VF_INFO
      '1800 0c00 1400 0100', // IFLA_VF_VLAN_LIST, IFLA_VF_VLAN_INFO
      '03000000 64000000 05000000 88a8 0000', // struct ifla_vf_vlan_info
    ),
  )
})

golden('the question for the VFs of a link leaves their statistics out', (t) => {
  t.is(
    bytes((writer) => getVfs(writer, 7, 3)),
    hex('28000000 1200 0100 07000000 00000000', '00 00 0000 03000000 00000000 00000000', '0800 1d00 09000000'), // RTEXT_FILTER_VF|SKIP_STATS
  )
})

golden('a VLAN subinterface, a move, an altname', (t) => {
  t.is(
    bytes((writer) => newLink(writer, 7, { name: 'lo.7', lowerIndex: 1 }, { kind: 'vlan', vlan: 7, protocol: '802.1ad' })),
    hex(
      '58000000 1000 0506 07000000 00000000',
      '00 00 0000 00000000 00000000 00000000',
      '0900 0300 6c6f2e3700 000000', // IFLA_IFNAME
      '0800 0500 01000000', // IFLA_LINK
      '2400 1200',
      '0900 0100 766c616e00 000000', // IFLA_INFO_KIND "vlan"
      '1400 0200',
      '0600 0100 0700 0000', // IFLA_VLAN_ID
      '0600 0500 88a8 0000', // IFLA_VLAN_PROTOCOL, network order
    ),
  )
  t.is(
    bytes((writer) => setLink(writer, 7, { index: 3, name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1500, alias: '', up: true, namespaceFd: 9 })),
    hex(
      '4c000000 1300 0500 07000000 00000000',
      '00 00 0000 03000000 01000000 01000000', // IFF_UP
      '0900 0300 6574683000 000000', // IFLA_IFNAME
      '0a00 0100 020000000001 0000', // IFLA_ADDRESS
      '0800 0400 dc050000', // IFLA_MTU
      '0400 1400', // IFLA_IFALIAS, empty: none
      '0800 1c00 09000000', // IFLA_NET_NS_FD
    ),
  )
  t.is(
    bytes((writer) => changeAltName(writer, 7, c.RTM_DELLINKPROP, 1, 'eth0')),
    hex(
      '30000000 6d00 0500 07000000 00000000',
      '00 00 0000 01000000 00000000 00000000',
      '1000 3480 0900 3500 6574683000 000000', // IFLA_PROP_LIST | NLA_F_NESTED, IFLA_ALT_IFNAME
    ),
  )
})

test('settings that no VF can have are refused with their field', (t) => {
  const wrong: [string, number, VfSettings][] = [
    ['vf', -1, { trust: true }],
    ['mac', 0, { mac: '02:00' }],
    ['vlan', 0, { vlan: { id: 4095, qos: 0, protocol: '802.1q' } }],
    ['vlan', 0, { vlan: { id: 1, qos: 8, protocol: '802.1q' } }],
    ['vlan', 0, { vlan: { id: 1, qos: 0, protocol: '802.1x' as never } }],
    ['rate', 0, { rate: { min: 10, max: 9 } }],
    ['rate', 0, { rate: { min: 0, max: 1.5 } }],
    ['linkState', 0, { linkState: 'on' as never }],
  ]
  for (const [field, vf, settings] of wrong) {
    const error = t.throws(() => setVf(new MessageWriter(), 1, 3, vf, settings), { instanceOf: InvalidValue }, JSON.stringify(settings))
    t.is(error?.field, field)
  }
  for (const vlan of [0, 4095, 1.5])
    t.like(
      t.throws(() => newLink(new MessageWriter(), 1, { name: 'a' }, { kind: 'vlan', vlan, protocol: undefined }), { instanceOf: InvalidValue }),
      { field: 'vlan' },
    )
})

/** Answers as rtnl_fill_vfinfo writes them; `told` false: a driver that knows neither spoofchk nor trust. */
function answer(count: number, { told = true, macBytes = 6, guids = false } = {}): MessageReader {
  const writer = new MessageWriter()
  writer.message(c.RTM_NEWLINK, 0, 1, () => {
    writer.zero(16).attributeText(c.IFLA_IFNAME, 'ens1f0').attribute(c.IFLA_ADDRESS, new Uint8Array(macBytes).fill(2))
    writer.attributeU32(21, count) // IFLA_NUM_VF
    writer.nest(c.IFLA_VFINFO_LIST, () => {
      for (let vf = 0; vf < count; vf++) writer.nest(c.IFLA_VF_INFO, () => one(writer, vf, told, guids))
    })
    writer.attributeText(c.IFLA_PARENT_DEV_NAME, '0000:3b:00.0')
  })
  return new MessageReader(Uint8Array.from(writer.bytes))
}

function one(writer: MessageWriter, vf: number, told: boolean, guids: boolean): void {
  const word = (type: number, ...values: number[]) =>
    writer.nest(type, () => {
      for (const value of values) writer.u32(value)
    })
  writer.nest(c.IFLA_VF_MAC, () => writer.u32(vf).u8(2).zero(4).u8(vf).zero(26))
  writer.nest(13, () => writer.zero(32)) // IFLA_VF_BROADCAST
  word(c.IFLA_VF_VLAN, vf, vf % 2 === 0 ? 0 : 100 + vf, vf % 8)
  word(c.IFLA_VF_RATE, vf, 10, 1000)
  word(3, vf, 1000) // IFLA_VF_TX_RATE
  word(c.IFLA_VF_SPOOFCHK, vf, told ? 1 : 0xffffffff)
  word(c.IFLA_VF_LINK_STATE, vf, vf % 3)
  word(7, vf, 0xffffffff) // IFLA_VF_RSS_QUERY_EN
  word(c.IFLA_VF_TRUST, vf, told ? 0 : 0xffffffff)
  if (guids) for (const type of [10, 11]) word(type, vf, 0, 0, 0) // IFLA_VF_IB_NODE_GUID, IFLA_VF_IB_PORT_GUID
  writer.nest(c.IFLA_VF_VLAN_LIST, () =>
    writer.nest(c.IFLA_VF_VLAN_INFO, () =>
      writer
        .u32(vf)
        .u32(100 + vf)
        .u32(0)
        .u16be(vf % 2 === 0 ? 0x8100 : 0x88a8)
        .zero(2),
    ),
  )
}

function read(reader: MessageReader): VfInfo[] {
  let vfs: VfInfo[] = []
  reader.eachMessage((message) => {
    vfs = readVfs(reader, message)
  })
  return vfs
}

test('VFs are read with everything their driver tells of them', (t) => {
  t.deepEqual(read(answer(2)), [
    {
      index: 0,
      mac: '02:00:00:00:00:00',
      vlan: 0,
      qos: 0,
      protocol: '802.1q',
      minTxRate: 10,
      maxTxRate: 1000,
      spoofchk: true,
      linkState: 'auto',
      trust: false,
    },
    {
      index: 1,
      mac: '02:00:00:00:00:01',
      vlan: 101,
      qos: 1,
      protocol: '802.1ad',
      minTxRate: 10,
      maxTxRate: 1000,
      spoofchk: true,
      linkState: 'enable',
      trust: false,
    },
  ])
})

test('what a driver does not tell is absent, and addresses have the length of their PF', (t) => {
  const [vf] = read(answer(1, { told: false, macBytes: 20 }))
  t.false('spoofchk' in (vf ?? {}))
  t.false('trust' in (vf ?? {}))
  t.is(vf?.mac.length, 59)
})

test('256 VFs are read, and with InfiniBand identifiers too they fit into the answer the kernel can give', (t) => {
  for (const guids of [false, true]) {
    const reader = answer(256, { guids })
    t.true(reader.bytes.length < 0x10000)
    t.deepEqual(
      read(reader).map(({ index, mac }) => `${index} ${mac}`),
      Array.from({ length: 256 }, (_, vf) => `${vf} 02:00:00:00:00:${vf.toString(16).padStart(2, '0')}`),
    )
  }
})

test('a link without VFs has none, a VF nobody numbered is left out, and cut bytes are malformed', (t) => {
  t.deepEqual(read(answer(0)), [])
  const writer = new MessageWriter()
  writer.message(c.RTM_NEWLINK, 0, 1, () => {
    writer.zero(16).nest(c.IFLA_VFINFO_LIST, () => {
      writer.nest(c.IFLA_VF_INFO, () => writer.nest(c.IFLA_VF_TRUST, () => writer.u32(0).u32(1)))
    })
  })
  t.deepEqual(read(new MessageReader(writer.bytes)), [])
  writer.clear()
  writer.message(c.RTM_NEWLINK, 0, 1, () => {
    writer.zero(16).nest(c.IFLA_VFINFO_LIST, () =>
      writer.nest(c.IFLA_VF_INFO, () =>
        writer
          .nest(c.IFLA_VF_MAC, () => writer.u32(0))
          .u16(40)
          .u16(c.IFLA_VF_VLAN),
      ),
    )
  })
  t.throws(() => read(new MessageReader(Uint8Array.from(writer.bytes))), { instanceOf: MalformedMessage })
})

test('a link names the device it stands on, and its further names', (t) => {
  const writer = new MessageWriter()
  writer.message(c.RTM_NEWLINK, 0, 1, () => {
    writer.zero(16).attributeText(c.IFLA_IFNAME, 'eth0').attributeText(c.IFLA_PARENT_DEV_NAME, '0000:3b:02.1')
    writer.nest(c.IFLA_PROP_LIST, () => writer.attributeText(c.IFLA_ALT_IFNAME, 'ens1f0v1').attributeText(c.IFLA_ALT_IFNAME, 'enp59s0f0v1'))
  })
  const reader = new MessageReader(writer.bytes)
  reader.eachMessage((message) => {
    t.like(readLink(reader, message), { name: 'eth0', parentDevice: '0000:3b:02.1' })
    t.deepEqual(readAltNames(reader, message), ['ens1f0v1', 'enp59s0f0v1'])
  })
})
