/** `heddle network create|ls|inspect|rm`. */
import type { Command } from 'commander'
import type { NetworkFlags } from '../network-request.ts'

export function addNetwork(root: Command): void {
  const network = root.command('network').description('networks that containers of every runtime share')
  addCreate(network)
  network
    .command('ls')
    .description('list networks')
    .addHelpText(
      'after',
      `
Examples:
  heddle network ls
  heddle --json network ls | jq -r '.[].name'`,
    )
    .action(async (_, command: Command) => {
      const [{ withSession }, { Network }, { networkTable }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const { networks } = await session.call((client) => client.listNetworks, {})
        print(session.json, networks.map(Network.toJSON), () => networkTable(networks))
      })
    })
  network
    .command('inspect')
    .description('show a network, its pools and its endpoints')
    .argument('<network>', 'name or id')
    .addHelpText(
      'after',
      `
Examples:
  heddle network inspect blue
  heddle --json network inspect blue | jq .network.vni`,
    )
    .action(async (name: string, _, command: Command) => {
      const [{ withSession }, { GetNetworkResponse }, { endpointTable, networkFacts, poolTable }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../views.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const response = await session.call((client) => client.getNetwork, { name })
        print(
          session.json,
          GetNetworkResponse.toJSON(response),
          () => `${response.network === undefined ? '' : networkFacts(response.network)}\n${poolTable(response.pools)}\n${endpointTable(response.endpoints)}`,
        )
      })
    })
  network
    .command('rm')
    .description('delete networks; refused while they have endpoints')
    .argument('<network...>', 'names or ids')
    .addHelpText(
      'after',
      `
Examples:
  heddle network rm blue
  heddle network rm blue lab                            in this order, until one is refused`,
    )
    .action(async (names: string[], _, command: Command) => {
      const [{ withSession }, { print }] = await Promise.all([import('../client.ts'), import('../output.ts')])
      await withSession(command, async (session) => {
        const removed: string[] = []
        try {
          for (const name of names) {
            await session.call((client) => client.deleteNetwork, { name })
            removed.push(name)
          }
        } finally {
          // Also when one is refused: those before it are gone.
          if (removed.length > 0) print(session.json, removed, () => removed.map((name) => `${name}\n`).join(''))
        }
      })
    })
}

function addCreate(network: Command): void {
  network
    .command('create')
    .description('create a network; the same definition again changes nothing')
    .argument('<name>', 'the name Docker (-o network=NAME) and CNI ("name": NAME) know it by')
    .option('--subnet <prefix>', 'address pool, IPv4 or IPv6; may be given several times; only overlay and bridge need one', collect)
    .option('--gateway <address>', 'gateway of the subnet that contains it', collect)
    .option('--ip-range <range>', 'where dynamic addresses come from: a prefix or FIRST-LAST, in the subnet that contains it', collect)
    .option('--exclude <address>', 'address or prefix never handed out', collect)
    .option('--aux-address <name=address>', 'address set aside under a name', collect)
    .option(
      '--kind <kind>',
      'overlay (all hosts), bridge (one host), macvlan, ipvlan or vlan (links on one of the host), host-device (the link itself), sriov (a virtual function for each container) or null (no interface)',
      'overlay',
    )
    .option('--mtu <bytes>', "MTU of its interfaces; default: the underlay's, less the encapsulation")
    .option('--vni <number>', 'VXLAN network identifier, 4096 to 16777215; default: a free one')
    .option('--internal', 'no way out of the network')
    .option('-o, --opt <key=value>', 'further option', collect)
    .option('--parent <link>', 'macvlan, ipvlan, vlan, host-device: link of the host; eth0.100 is VLAN 100 on eth0')
    .option('--mode <mode>', 'macvlan: bridge (default), private, vepa or passthru; ipvlan: l2 (default), l3 or l3s')
    .option('--parent-mac <mac>', 'host-device: the link by its MAC')
    .option('--parent-pci <address>', 'host-device: the link by its PCI address')
    .option('--isolated', 'bridge: containers do not reach each other')
    .option('--routed', 'bridge: what leaves the network keeps its source address')
    .option('--host-binding <address>', 'bridge: address of the host that ports are published on where none is given')
    .option('--vf-pool <name>', 'sriov: pool the VFs come from')
    .option('--pf <netdev>', 'sriov: PF the VFs come from, with VF indexes if not all are meant: eth0#0-3', collect)
    .option('--vlan <id>', 'vlan: of its frames on the parent, 1 to 4094; sriov: of the VF, 0 to 4094')
    .option('--vlan-qos <priority>', 'sriov: 0 to 7')
    .option('--vlan-proto <protocol>', 'sriov: 802.1q or 802.1ad')
    .option('--vlan-trunk <vlans>', 'sriov: VLANs the container may use tagged: 100,200-210')
    .option('--spoofchk <on|off>', 'sriov: drop frames with another source MAC')
    .option('--trust <on|off>', 'sriov: let the container change its MAC and go promiscuous')
    .option('--min-tx-rate <mbit>', 'sriov: Mbit/s, 0 for none')
    .option('--max-tx-rate <mbit>', 'sriov: Mbit/s, 0 for no limit')
    .option('--link-state <state>', 'sriov: auto, enable or disable')
    .option('--bind <driver>', 'sriov: user-space driver instead of a netdev: vfio-pci')
    .option('--policy <policy>', "sriov: pack or spread; default: the pool's")
    .option('--near <device>', 'sriov: on the NUMA node of a PCI device, 0000:3b:00.0, or node:1')
    .option('--apart', 'sriov: interfaces of one container on different PFs')
    .addHelpText(
      'after',
      `
Examples:
  heddle network create blue --subnet 10.7.0.0/16 --subnet fd07::/64
  heddle network create lab --kind bridge --subnet 10.8.0.0/24 --gateway 10.8.0.254 --ip-range 10.8.0.100-10.8.0.199
  heddle network create wire --kind macvlan --parent eth0 --mode bridge --subnet 192.0.2.0/24 --gateway 192.0.2.1
  heddle network create fast --kind sriov --vf-pool fast --vlan 100 --subnet 10.9.0.0/24
  docker network create -d heddle --ipam-driver heddle --ipam-opt network=blue -o network=blue \\
    --ipv6 --subnet 10.7.0.0/16 --subnet fd07::/64 blue          use it from Docker`,
    )
    .action(async (name: string, flags: NetworkFlags, command: Command) => {
      const [{ withSession }, { Network }, { networkFacts }, { print }, { networkRequest }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../views.ts'),
        import('../output.ts'),
        import('../network-request.ts'),
      ])
      const request = networkRequest(name, flags)
      await withSession(command, async (session) => {
        const response = await session.call((client) => client.createNetwork, request)
        const made = response.network
        print(
          session.json,
          made === undefined ? {} : Network.toJSON(made),
          () => `${response.created ? '' : 'The network was there already.\n'}${made === undefined ? '' : networkFacts(made)}`,
        )
      })
    })
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}
