/** Numbers of the kernel's uapi headers that we use, under their own names. */

/** linux/netlink.h */
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3
export const NLM_F_REQUEST = 0x1
export const NLM_F_ACK = 0x4
export const NLM_F_DUMP_INTR = 0x10
export const NLM_F_DUMP = 0x300
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
/** On an acknowledgement: the request was not copied back; attributes follow. */
export const NLM_F_CAPPED = 0x100
export const NLM_F_ACK_TLVS = 0x200
export const NLMSGERR_ATTR_MSG = 1
export const NLA_F_NESTED = 0x8000
export const NLA_TYPE_MASK = 0x3fff
export const NETLINK_ROUTE = 0
export const NETLINK_NETFILTER = 12
export const NETLINK_KOBJECT_UEVENT = 15

/** linux/rtnetlink.h */
export const RTM_NEWLINK = 16
export const RTM_DELLINK = 17
export const RTM_GETLINK = 18
export const RTM_SETLINK = 19
export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
export const RTM_GETADDR = 22
export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
export const RTM_GETROUTE = 26
export const RTM_NEWNEIGH = 28
export const RTM_DELNEIGH = 29
export const RTM_GETNEIGH = 30
export const RTM_NEWLINKPROP = 108
export const RTM_DELLINKPROP = 109
export const RTMGRP_LINK = 1
export const RTEXT_FILTER_VF = 1
export const RTEXT_FILTER_SKIP_STATS = 8
export const RT_TABLE_UNSPEC = 0
export const RT_TABLE_MAIN = 254
export const RT_SCOPE_UNIVERSE = 0
export const RT_SCOPE_LINK = 253
export const RT_SCOPE_NOWHERE = 255
export const RTN_UNICAST = 1
export const RTM_F_CLONED = 0x200
export const RTA_DST = 1
export const RTA_OIF = 4
export const RTA_GATEWAY = 5
export const RTA_PRIORITY = 6
export const RTA_METRICS = 8
export const RTA_TABLE = 15
export const RTAX_MTU = 2
export const RTAX_ADVMSS = 8

/** linux/socket.h */
export const AF_UNSPEC = 0
export const AF_INET = 2
export const AF_BRIDGE = 7
export const AF_INET6 = 10

/** linux/if.h */
export const IFF_UP = 0x1
export const IFF_RUNNING = 0x40

/** linux/if_link.h */
export const IFLA_ADDRESS = 1
export const IFLA_IFNAME = 3
export const IFLA_MTU = 4
export const IFLA_LINK = 5
export const IFLA_MASTER = 10
export const IFLA_PROTINFO = 12
export const IFLA_LINKINFO = 18
export const IFLA_IFALIAS = 20
export const IFLA_VFINFO_LIST = 22
export const IFLA_GROUP = 27
export const IFLA_NET_NS_FD = 28
export const IFLA_EXT_MASK = 29
export const IFLA_LINK_NETNSID = 37
export const IFLA_PROP_LIST = 52
export const IFLA_ALT_IFNAME = 53
export const IFLA_PARENT_DEV_NAME = 56
export const IFLA_INFO_KIND = 1
export const IFLA_INFO_DATA = 2
export const IFLA_INFO_SLAVE_KIND = 4
export const IFLA_INFO_SLAVE_DATA = 5
export const VETH_INFO_PEER = 1
export const IFLA_BR_STP_STATE = 5
export const IFLA_BR_MCAST_SNOOPING = 23
export const IFLA_BRPORT_MODE = 4
export const IFLA_BRPORT_GUARD = 5
export const IFLA_BRPORT_LEARNING = 8
export const IFLA_BRPORT_UNICAST_FLOOD = 9
export const IFLA_BRPORT_MCAST_FLOOD = 27
export const IFLA_BRPORT_BCAST_FLOOD = 30
export const IFLA_BRPORT_NEIGH_SUPPRESS = 32
export const IFLA_BRPORT_ISOLATED = 33
export const IFLA_BRPORT_LOCKED = 39
export const IFLA_VXLAN_ID = 1
export const IFLA_VXLAN_LOCAL = 4
export const IFLA_VXLAN_TTL = 5
export const IFLA_VXLAN_LEARNING = 7
export const IFLA_VXLAN_PORT = 15
export const IFLA_VXLAN_LOCAL6 = 17
export const IFLA_VLAN_ID = 1
export const IFLA_VLAN_PROTOCOL = 5
/** enum macvlan_mode. */
export const IFLA_MACVLAN_MODE = 1
export const MACVLAN_MODE_PRIVATE = 1
export const MACVLAN_MODE_VEPA = 2
export const MACVLAN_MODE_BRIDGE = 4
export const MACVLAN_MODE_PASSTHRU = 8
export const IFLA_IPVLAN_MODE = 1
export const IPVLAN_MODE_L2 = 0
export const IPVLAN_MODE_L3 = 1
export const IPVLAN_MODE_L3S = 2
export const IFLA_VF_INFO = 1
export const IFLA_VF_MAC = 1
export const IFLA_VF_VLAN = 2
export const IFLA_VF_SPOOFCHK = 4
export const IFLA_VF_LINK_STATE = 5
export const IFLA_VF_RATE = 6
export const IFLA_VF_TRUST = 9
export const IFLA_VF_VLAN_LIST = 12
export const IFLA_VF_VLAN_INFO = 1
export const IFLA_VF_LINK_STATE_AUTO = 0
export const IFLA_VF_LINK_STATE_ENABLE = 1
export const IFLA_VF_LINK_STATE_DISABLE = 2

/** linux/if_ether.h */
export const ETH_P_8021Q = 0x8100
export const ETH_P_8021AD = 0x88a8

/** linux/if_addr.h */
export const IFA_ADDRESS = 1
export const IFA_LOCAL = 2
export const IFA_BROADCAST = 4
export const IFA_FLAGS = 8
export const IFA_F_NODAD = 0x02

/** linux/neighbour.h */
export const NDA_DST = 1
export const NDA_LLADDR = 2
export const NDA_IFINDEX = 8
export const NDA_MASTER = 9
export const NTF_SELF = 0x02
export const NTF_MASTER = 0x04
export const NUD_NOARP = 0x40
export const NUD_PERMANENT = 0x80
