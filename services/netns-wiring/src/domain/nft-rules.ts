/**
 * The two nftables rulesets of a host, loaded once; afterwards only set elements change. Loading is one transaction that
 * flushes and refills the chains while the sets keep their elements. The set `loaded` holds the text's hash, so a look at
 * it tells whether exactly this ruleset is there.
 */
import { createHash } from 'node:crypto'
import type { NftValue } from '@heddle/kernel'

export type NftType = NftValue['type']

export interface SetShape {
  readonly key: readonly NftType[]
  /** Empty: a set, not a map. */
  readonly data: readonly NftType[]
  readonly declaration: string
}

export interface Ruleset {
  readonly family: 'inet'
  readonly table: string
  /** The only element of the set `loaded`. */
  readonly version: string
  /** Sets and maps whose elements Heddle keeps, by name. */
  readonly sets: Readonly<Record<string, SetShape>>
  readonly text: string
}

const setOf = (...key: NftType[]): SetShape => ({ key, data: [], declaration: `type ${key.join(' . ')};` })
const mapOf = (key: readonly NftType[], data: readonly NftType[]): SetShape => ({ key, data, declaration: `type ${key.join(' . ')} : ${data.join(' . ')};` })

/**
 * Only hosts with an endpoint in a network may send VXLAN into it. The VNI is 24 bits after 12 bytes from the transport
 * header: 8 of UDP, 4 of VXLAN (RFC 7348 section 5). A VNI that is not ours is nobody's business here, so another user
 * of VXLAN on this host keeps working. Containers of bridge networks may not speak VXLAN to the host with our VNIs.
 */
export function vxlanRules(port: number): Ruleset {
  return ruleset(
    'heddle-vxlan',
    {
      vnis: { key: ['u24'], data: [], declaration: 'typeof @th,96,24;' },
      members4: { key: ['ipv4_addr', 'u24'], data: [], declaration: 'typeof ip saddr . @th,96,24;' },
      members6: { key: ['ipv6_addr', 'u24'], data: [], declaration: 'typeof ip6 saddr . @th,96,24;' },
    },
    {
      member: { rules: ['iifname "hb*" counter drop', 'ip saddr . @th,96,24 @members4 accept', 'ip6 saddr . @th,96,24 @members6 accept', 'counter drop'] },
      prerouting: { hook: 'filter hook prerouting priority -300', rules: [`udp dport ${port} fib daddr type local @th,96,24 @vnis jump member`] },
    },
  )
}

/** Bit of the packet mark between prerouting and postrouting: from one of our bridges to an address of the host. */
const hairpinMark = '0x10000000'

/**
 * Bridge networks: masquerading to the outside, isolation from each other, published ports. `own` holds (bridge . bridge)
 * pairs: frames within a network that br_netfilter shows to the forward hook; those in `apart` as well pass only where they
 * were sent to a published port. Postrouting sees the incoming interface
 * since Linux 5.7, but not of such a frame; so a container that reaches a published port through the host's address is
 * known there by a mark. The guard of 127.0.0.0/8 closes what route_localnet opens (CVE-2020-8558).
 */
export function bridgeRules(): Ruleset {
  const port = ['inet_proto', 'inet_service'] as const
  return ruleset(
    'heddle',
    {
      bridges: setOf('ifname'),
      own: setOf('ifname', 'ifname'),
      apart: setOf('ifname', 'ifname'),
      outward: setOf('ifname'),
      internal: setOf('ifname'),
      any4: mapOf(port, ['ipv4_addr', 'inet_service']),
      any6: mapOf(port, ['ipv6_addr', 'inet_service']),
      given4: mapOf(['ipv4_addr', ...port], ['ipv4_addr', 'inet_service']),
      given6: mapOf(['ipv6_addr', ...port], ['ipv6_addr', 'inet_service']),
    },
    {
      publish: {
        rules: [
          'dnat ip to ip daddr . meta l4proto . th dport map @given4',
          'dnat ip6 to ip6 daddr . meta l4proto . th dport map @given6',
          'dnat ip to meta l4proto . th dport map @any4',
          'dnat ip6 to meta l4proto . th dport map @any6',
        ],
      },
      guard: { hook: 'filter hook prerouting priority -300', rules: ['iifname @bridges ip daddr 127.0.0.0/8 drop'] },
      prerouting: {
        hook: 'nat hook prerouting priority -100',
        rules: [`iifname @bridges fib daddr type local meta mark set meta mark | ${hairpinMark}`, 'fib daddr type local jump publish'],
      },
      output: { hook: 'nat hook output priority -100', rules: ['fib daddr type local jump publish'] },
      forward: {
        hook: 'filter hook forward priority 0',
        rules: [
          'iifname . oifname @apart ct status & dnat == 0 drop',
          'iifname . oifname @own accept',
          'iifname @internal drop',
          'oifname @internal drop',
          'iifname @bridges oifname @bridges ct status & dnat == 0 drop',
        ],
      },
      postrouting: {
        hook: 'nat hook postrouting priority 100',
        rules: [
          `oifname @bridges meta mark & ${hairpinMark} != 0 ct status & dnat != 0 masquerade`,
          'oifname @bridges ip saddr 127.0.0.0/8 masquerade',
          'iifname @outward oifname != @bridges masquerade',
        ],
      },
    },
  )
}

interface Chain {
  /** Type, hook and priority of a base chain. */
  readonly hook?: string
  readonly rules: readonly string[]
}

function ruleset(table: string, sets: Readonly<Record<string, SetShape>>, chains: Readonly<Record<string, Chain>>): Ruleset {
  const declared = [
    `table inet ${table} {`,
    '  set loaded { type ifname; }',
    ...Object.entries(sets).map(([name, set]) => `  ${set.data.length > 0 ? 'map' : 'set'} ${name} { ${set.declaration} }`),
    ...Object.entries(chains).map(([name, { hook }]) => `  chain ${name} { ${hook === undefined ? '' : `type ${hook}; policy accept; `}}`),
    '}',
  ]
  const filled = Object.entries(chains).flatMap(([name, { rules }]) => [
    `flush chain inet ${table} ${name}`,
    ...rules.map((rule) => `add rule inet ${table} ${name} ${rule}`),
  ])
  const version = createHash('sha256')
    .update([...declared, ...filled].join('\n'))
    .digest('hex')
    .slice(0, 12)
  const marked = [`flush set inet ${table} loaded`, `add element inet ${table} loaded { "${version}" }`]
  return { family: 'inet', table, version, sets, text: `${[...declared, ...filled, ...marked].join('\n')}\n` }
}
