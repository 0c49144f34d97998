import test from 'ava'
import { announcementFrames } from '../announce/frames.ts'
import { bytes, golden, hex } from '../testing/golden.ts'
import * as address from './address.ts'
import * as c from './constants.ts'
import { deleteGroup, newLink, setBridgePort } from './link-build.ts'
import { deleteEntry, replaceEntry } from './neighbour.ts'

golden('veth with its peer in another namespace', (t) => {
  t.is(
    bytes((writer) =>
      newLink(
        writer,
        7,
        { name: 'v0', mtu: 1450, masterIndex: 3, up: true },
        { kind: 'veth', peer: { name: 'eth0', mac: '02:00:00:00:00:01', namespaceFd: 9 } },
      ),
    ),
    hex(
      '80000000 1000 0506 07000000 00000000', // nlmsghdr: NEWLINK, REQUEST|ACK|EXCL|CREATE
      '00 00 0000 00000000 01000000 01000000', // ifinfomsg: IFF_UP, changed
      '0700 0300 763000 00', // IFLA_IFNAME "v0"
      '0800 0400 aa050000', // IFLA_MTU 1450
      '0800 0a00 03000000', // IFLA_MASTER 3
      '4800 1200', // IFLA_LINKINFO
      '0900 0100 7665746800 000000', // IFLA_INFO_KIND "veth"
      '3800 0200', // IFLA_INFO_DATA
      '3400 0100', // VETH_INFO_PEER
      '00 00 0000 00000000 00000000 00000000', // ifinfomsg
      '0900 0300 6574683000 000000', // IFLA_IFNAME "eth0"
      '0a00 0100 020000000001 0000', // IFLA_ADDRESS
      '0800 1c00 09000000', // IFLA_NET_NS_FD 9
    ),
  )
})

golden('VXLAN without learning', (t) => {
  t.is(
    bytes((writer) => newLink(writer, 1, { name: 'x' }, { kind: 'vxlan', vni: 4097, local: '192.0.2.1', port: 4789 })),
    hex(
      '64000000 1000 0506 01000000 00000000',
      '00 00 0000 00000000 00000000 00000000',
      '0600 0300 7800 0000',
      '3c00 1200',
      '0a00 0100 76786c616e00 0000', // IFLA_INFO_KIND "vxlan"
      '2c00 0200',
      '0800 0100 01100000', // IFLA_VXLAN_ID
      '0800 0400 c0000201', // IFLA_VXLAN_LOCAL
      '0600 0f00 12b5 0000', // IFLA_VXLAN_PORT, network order
      '0500 0500 40 000000', // IFLA_VXLAN_TTL
      '0500 0700 00 000000', // IFLA_VXLAN_LEARNING
    ),
  )
})

golden('links that stand on one of the namespace the request is sent from', (t) => {
  const settings = { name: 'eth0', mtu: 1400, lowerIndex: 3, namespaceFd: 4 }
  const common = [
    '00 00 0000 00000000 00000000 00000000',
    '0900 0300 6574683000 000000', // IFLA_IFNAME "eth0"
    '0800 0400 78050000', // IFLA_MTU 1400
    '0800 0500 03000000', // IFLA_LINK 3
    '0800 1c00 04000000', // IFLA_NET_NS_FD 4
  ]
  t.is(
    bytes((writer) => newLink(writer, 1, settings, { kind: 'macvlan', mode: 'passthru' })),
    hex(
      '60000000 1000 0506 01000000 00000000',
      ...common,
      '1c00 1200',
      '0c00 0100 6d6163766c616e00', // IFLA_INFO_KIND "macvlan"
      '0c00 0200 0800 0100 08000000', // IFLA_MACVLAN_MODE
    ),
  )
  t.is(
    bytes((writer) => newLink(writer, 1, settings, { kind: 'ipvlan', mode: 'l3s' })),
    hex('60000000 1000 0506 01000000 00000000', ...common, '1c00 1200', '0b00 0100 6970766c616e 00 00', '0c00 0200 0600 0100 02000000'),
  )
  t.is(
    bytes((writer) => newLink(writer, 1, settings, { kind: 'vlan', vlan: 100, protocol: undefined })),
    hex(
      '68000000 1000 0506 01000000 00000000',
      ...common,
      '2400 1200',
      '0900 0100 766c616e00 000000',
      '1400 0200 0600 0100 64000000', // IFLA_VLAN_ID
      '0600 0500 8100 0000', // IFLA_VLAN_PROTOCOL, network order
    ),
  )
})

golden('bridge port flags and the deletion of a group', (t) => {
  t.is(
    bytes((writer) => setBridgePort(writer, 2, 5, { learning: false, neighbourSuppress: true })),
    hex(
      '34000000 1300 0500 02000000 00000000', // SETLINK, REQUEST|ACK
      '07 00 0000 05000000 00000000 00000000', // AF_BRIDGE, port 5
      '1400 0c80', // IFLA_PROTINFO | NLA_F_NESTED
      '0500 0800 00 000000', // IFLA_BRPORT_LEARNING
      '0500 2000 01 000000', // IFLA_BRPORT_NEIGH_SUPPRESS
    ),
  )
  t.is(
    bytes((writer) => deleteGroup(writer, 3, 0x68640001)),
    hex('28000000 1100 0500 03000000 00000000', '00 00 0000 00000000 00000000 00000000', '0800 1b00 01006468'),
  )
})

golden('addresses', (t) => {
  t.is(
    bytes((writer) => address.replaceAddress(writer, 1, 4, '10.1.2.3/20')),
    hex(
      '30000000 1400 0505 01000000 00000000', // NEWADDR, REQUEST|ACK|REPLACE|CREATE
      '02 14 00 00 04000000', // AF_INET /20
      '0800 0200 0a010203', // IFA_LOCAL
      '0800 0100 0a010203', // IFA_ADDRESS
      '0800 0400 0a010fff', // IFA_BROADCAST
    ),
  )
  t.is(
    bytes((writer) => address.replaceAddress(writer, 1, 4, 'fd00::1/64')),
    hex(
      '48000000 1400 0505 01000000 00000000',
      '0a 40 02 00 04000000', // AF_INET6 /64 IFA_F_NODAD
      '1400 0200 fd000000000000000000000000000001',
      '1400 0100 fd000000000000000000000000000001',
      '0800 0800 02000000', // IFA_FLAGS
    ),
  )
})

golden('routes', (t) => {
  t.is(
    bytes((writer) => address.replaceRoute(writer, 1, 4, { destination: '0.0.0.0/0', gateway: '10.0.0.1' })),
    hex('2c000000 1800 0505 01000000 00000000', '02 00 00 00 fe 48 00 01 00000000', '0800 0500 0a000001', '0800 0400 04000000'),
  )
  t.is(
    bytes((writer) => address.deleteRoute(writer, 1, 4, '10.0.0.0/8', undefined)),
    hex('2c000000 1900 0500 01000000 00000000', '02 08 00 00 fe 00 ff 00 00000000', '0800 0100 0a000000', '0800 0400 04000000'),
  )
})

golden('the entries of a remote endpoint', (t) => {
  const mac = '02:00:00:00:00:09'
  t.is(
    bytes((writer) => replaceEntry(writer, 1, c.NLM_F_ACK, { table: 'vxlan', linkIndex: 6, mac, address: '192.0.2.1' })),
    hex(
      '30000000 1c00 0505 01000000 00000000', // NEWNEIGH
      '07 00 0000 06000000 8000 02 00', // AF_BRIDGE, NUD_PERMANENT, NTF_SELF
      '0800 0100 c0000201', // NDA_DST
      '0a00 0200 020000000009 0000', // NDA_LLADDR
    ),
  )
  t.is(
    bytes((writer) => deleteEntry(writer, 1, 0, { table: 'bridge', linkIndex: 6, mac })),
    hex('28000000 1d00 0100 01000000 00000000', '07 00 0000 06000000 4000 04 00', '0a00 0200 020000000009 0000'),
  )
  t.is(
    bytes((writer) => replaceEntry(writer, 1, 0, { table: 'neighbour', linkIndex: 6, mac, address: 'fd00::9' })),
    hex('3c000000 1c00 0105 01000000 00000000', '0a 00 0000 06000000 8000 00 00', '1400 0100 fd000000000000000000000000000009', '0a00 0200 020000000009 0000'),
  )
})

test('an ARP announcement and an unsolicited neighbour advertisement', (t) => {
  const [arp, na] = announcementFrames('02:00:00:00:00:0a', ['10.0.0.1', 'fd00::1']).map((frame) => Buffer.from(frame).toString('hex'))
  t.is(arp, hex('ffffffffffff 02000000000a 0806', '0001 0800 06 04 0001', '02000000000a 0a000001', '000000000000 0a000001'))
  t.is(
    na,
    hex(
      '333300000001 02000000000a 86dd',
      '60000000 0020 3a ff fd000000000000000000000000000001 ff020000000000000000000000000001', // hop limit 255, to ff02::1
      '88 00 5a92 20000000 fd000000000000000000000000000001', // override
      '02 01 02000000000a', // target link-layer address
    ),
  )
})
