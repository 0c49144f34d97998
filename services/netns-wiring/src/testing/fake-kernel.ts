/** A kernel in memory, for unit tests: links, addresses, entries and nftables elements as maps; no packets. */
import type { DeviceEvent, Feature, Kernel, LinkEvent, LinkInfo, MoveLink, Namespace, NeighbourInfo, NftElement, NftSet, SetVf, Step } from '@heddle/kernel'
import { decodeValues, valuesHex } from '../domain/nft-bytes.ts'
import { bridgeRules, vxlanRules } from '../domain/nft-rules.ts'
import { type FakeHardware, type Mutable, Refusal } from './fake-hardware.ts'

const keyOf = (ns: Namespace) => (ns === 'own' ? 'own' : ns.path)

export class FakeKernel implements Kernel {
  hardware: FakeHardware | undefined
  /** What somebody else does just before a step. */
  before: (step: Step) => void = () => {}
  /** Names that are another link's altname, `<namespace> <name>`. */
  readonly altNames = new Set<string>()
  readonly #deviceListeners = new Set<(event: DeviceEvent | undefined) => void>()
  readonly namespaces = new Map<
    string,
    { links: Map<string, Mutable<LinkInfo>>; entries: NeighbourInfo[]; addresses: { linkIndex: number; address: string }[] }
  >()
  readonly elements = new Map<string, Map<string, { key: Uint8Array; data: Uint8Array }>>()
  /** Every step and other write, in order. */
  readonly writes: string[] = []
  /** By operation (`remove`: a removal, `nft`: set elements): errnos it is refused with next, first to last. */
  readonly refusals = new Map<string, string[]>()
  readonly features: Feature[] = []
  readonly #listeners = new Set<{ readonly ns: string; readonly listener: (event: LinkEvent) => void }>()
  #nextIndex = 1

  constructor(...namespaces: readonly string[]) {
    for (const ns of ['own', ...namespaces]) this.#add(ns)
  }

  async run(steps: readonly Step[]) {
    return steps.map((step, index) => {
      this.before(step)
      this.writes.push(`${step.op} ${'name' in step ? step.name : ''}`.trim())
      if (step.op === 'vf.set') {
        const refused = this.#setVf(step)
        if (refused !== undefined) throw new Refusal(refused.errno, index, refused.setting)
        return { startMs: 0, endMs: 0 }
      }
      const errno = this.refusals.get(step.op)?.shift() ?? this.#step(step)
      if (errno !== undefined && !step.tolerate?.includes(errno)) throw new Refusal(errno, index)
      return { startMs: 0, endMs: 0 }
    })
  }

  async look(...[questions, , after = []]: Parameters<Kernel['look']>) {
    await this.run(after)
    return questions.map(({ ns, name, vfs }) => {
      this.hardware?.looked()
      const links = [...this.#of(ns).links.values()].filter((link) => name === undefined || link.name === name)
      return { links: links.map((link) => ({ ...link })), vfs: (vfs && name !== undefined ? this.hardware?.vfs(name) : undefined) ?? [] }
    })
  }

  #setVf(step: SetVf): { readonly errno: string; readonly setting?: string } | undefined {
    const errno = this.refusals.get('vf.set')?.shift()
    return errno === undefined ? this.hardware?.set(step) : { errno }
  }

  #step(step: Step): string | undefined {
    const ns = this.#of(step.ns)
    const link = 'name' in step ? ns.links.get(step.name) : undefined
    switch (step.op) {
      case 'veth.add': {
        if (step.master !== undefined && !ns.links.has(step.master)) return 'ENODEV'
        if (link !== undefined || this.#of(step.peer.ns).links.has(step.peer.name)) return 'EEXIST'
        const host = this.#link(step.ns, step.name, 'veth', step)
        const peer = this.#link(step.peer.ns, step.peer.name, 'veth', step.peer)
        host.peerIndex = peer.index
        peer.peerIndex = host.index
        return undefined
      }
      case 'bridge.add':
      case 'vxlan.add': {
        if (link !== undefined) return 'EEXIST'
        const made = this.#link(step.ns, step.name, step.op.slice(0, -4), step)
        if (step.op === 'vxlan.add') made.vxlan = { vni: step.vni, local: step.local, port: step.port, learning: false }
        return undefined
      }
      case 'macvlan.add':
      case 'ipvlan.add':
      case 'vlan.add': {
        const below = this.#of(step.linkNs ?? step.ns).links.get(step.link)
        if (below === undefined || link !== undefined) return below === undefined ? 'ENODEV' : 'EEXIST'
        const made = this.#link(step.ns, step.name, step.op.slice(0, -4), { mac: below.mac, mtu: below.mtu, ...step })
        const upper = { mode: 'mode' in step ? step.mode : '', vlan: 'vlan' in step ? step.vlan : 0 }
        Object.assign(made, { upper, peerIndex: below.index, peerElsewhere: keyOf(step.linkNs ?? step.ns) !== keyOf(step.ns) })
        return undefined
      }
      case 'sysctl':
      case 'announce':
        return undefined
    }
    if (link === undefined) return 'ENODEV'
    if (step.op === 'link.move') return this.#move(step, link)
    if (step.op === 'link.set') {
      if (step.rename !== undefined && step.rename !== link.name) {
        if (ns.links.has(step.rename)) return 'EEXIST'
        if (link.up) return 'EBUSY'
        this.#put(step.ns, step.ns, link, step.rename)
      }
      const errno = this.#settle(step.ns, link, step)
      this.hardware?.changed()
      return errno
    }
    if (step.op === 'bridge.port') {
      const { op: _op, ns: _ns, name: _name, ...flags } = step
      link.port = { learning: true, unicastFlood: true, neighbourSuppress: false, locked: false, isolated: false, guard: false, ...link.port, ...flags }
    } else if (step.op === 'address.replace') ns.addresses.push({ linkIndex: link.index, address: step.address })
    else if (step.op.startsWith('fdb') || step.op.startsWith('neighbour')) this.#entry(ns, link.index, step)
    return undefined
  }

  #entry(ns: { entries: NeighbourInfo[] }, linkIndex: number, step: Step): void {
    const table = step.op.startsWith('fdb.vxlan') ? 'vxlan' : step.op.startsWith('fdb') ? 'bridge' : 'neighbour'
    const mac = 'mac' in step ? (step.mac ?? '') : ''
    const address = 'destination' in step ? (step.destination ?? '') : 'address' in step ? step.address : ''
    // A bridge has one entry a MAC, whichever port it leads to.
    const same = (entry: NeighbourInfo) =>
      entry.table === table && (table === 'bridge' || entry.linkIndex === linkIndex) && (table === 'neighbour' ? entry.address === address : entry.mac === mac)
    ns.entries = ns.entries.filter((entry) => !same(entry))
    if (step.op.endsWith('replace')) ns.entries.push({ linkIndex, mac, address, table, permanent: true })
  }

  #link(ns: Namespace, name: string, kind: string, settings: { mac?: string; mtu?: number; alias?: string; master?: string; up?: boolean }): Mutable<LinkInfo> {
    const index = this.#nextIndex++
    const link: Mutable<LinkInfo> = {
      index,
      name,
      alias: '',
      mac: `02:00:00:00:00:${index.toString(16).padStart(2, '0')}`,
      mtu: 1500,
      up: false,
      running: false,
      kind,
      masterIndex: 0,
      peerIndex: 0,
      peerElsewhere: false,
      group: 0,
      parentDevice: '',
    }
    this.#of(ns).links.set(name, link)
    this.#settle(ns, link, settings)
    return link
  }

  #settle(
    ns: Namespace,
    link: Mutable<LinkInfo>,
    { mac, mtu, alias, master, up }: { mac?: string; mtu?: number; alias?: string; master?: string; up?: boolean },
  ): string | undefined {
    if (mac !== undefined && mac !== link.mac) {
      const errno = link.parentDevice === '' ? undefined : this.hardware?.mac(link, mac)
      if (errno !== undefined) return errno
      if (link.parentDevice === '') link.mac = mac
    }
    if (mtu !== undefined) link.mtu = mtu
    if (alias !== undefined) link.alias = alias
    if (up !== undefined) link.up = up
    if (master !== undefined) link.masterIndex = this.#of(ns).links.get(master)?.index ?? 0
    return undefined
  }

  /** Whole or not at all, as the port promises. */
  #move(step: MoveLink, link: Mutable<LinkInfo>): string | undefined {
    const name = step.rename ?? link.name
    if ((this.#of(step.to).links.get(name) ?? link) !== link || this.altNames.has(`${keyOf(step.to)} ${name}`)) return 'EEXIST'
    const before = { ...link }
    this.#put(step.ns, step.to, link, name)
    link.up = false
    this.#of(step.ns).addresses = this.#of(step.ns).addresses.filter(({ linkIndex }) => linkIndex !== link.index)
    const errno = this.#settle(step.to, link, step)
    if (errno !== undefined) {
      this.#put(step.to, step.ns, link, before.name)
      Object.assign(link, before)
    }
    this.hardware?.changed()
    return errno
  }

  #put(from: Namespace, to: Namespace, link: Mutable<LinkInfo>, name: string): void {
    this.#of(from).links.delete(link.name)
    link.name = name
    this.#of(to).links.set(name, link)
  }

  /** A netdev of a device, as a driver makes it. */
  addNetdev(name: string, parentDevice: string, mac: string): void {
    const link = this.#link('own', name, '', {})
    Object.assign(link, { parentDevice, mac })
  }

  async removeLink(ns: Namespace, name: string) {
    this.#refuse('remove')
    const space = this.#of(ns)
    const link = space.links.get(name)
    if (link === undefined) return false
    this.writes.push(`remove ${name}`)
    for (const [key, { links, entries }] of this.namespaces) {
      for (const [other, { index, peerIndex }] of links) {
        if (index !== link.index && peerIndex !== link.index) continue
        links.delete(other)
        for (const { ns: at, listener } of this.#listeners) if (at === key) listener({ kind: 'gone', ns, index, name: other })
      }
      entries.splice(0, entries.length, ...entries.filter(({ linkIndex }) => linkIndex !== link.index))
    }
    return true
  }

  async links(ns: Namespace) {
    this.hardware?.looked()
    return [...this.#of(ns).links.values()].map((link) => ({ ...link }))
  }
  async link(ns: Namespace, name: string) {
    this.hardware?.looked()
    const link = this.#of(ns).links.get(name)
    return link === undefined ? undefined : { ...link }
  }
  async addresses(ns: Namespace) {
    return this.#of(ns).addresses
  }
  async addressesOf(ns: Namespace, linkIndex: number) {
    return this.#of(ns).addresses.filter((address) => address.linkIndex === linkIndex)
  }
  async routes() {
    return []
  }
  async neighbours(ns: Namespace, linkIndex: number | undefined) {
    return this.#of(ns).entries.filter((entry) => linkIndex === undefined || entry.linkIndex === linkIndex)
  }
  async createNamespace(path: string) {
    if (this.namespaces.has(path)) return false
    this.writes.push('create namespace')
    this.#add(path)
    return true
  }
  async deleteNamespace(path: string) {
    this.writes.push('delete namespace')
    this.endNamespace(path)
  }

  /** Its devices go back to the first namespace, under their names where these are free; all else is gone. */
  endNamespace(path: string): void {
    const own = this.#of('own')
    for (const link of this.#of({ path }).links.values()) {
      if (link.parentDevice === '') continue
      link.name = own.links.has(link.name) ? `dev${link.index}` : link.name
      link.up = false
      own.links.set(link.name, link)
    }
    this.namespaces.delete(path)
    this.hardware?.changed()
  }

  addNamespace(path: string): void {
    this.#add(path)
  }

  async vfs(_ns: Namespace, name: string) {
    const vfs = this.hardware?.vfs(name)
    if (vfs === undefined) throw new Refusal('ENODEV')
    return vfs
  }

  watchDevices(listener: (event: DeviceEvent | undefined) => void) {
    this.#deviceListeners.add(listener)
    return { close: () => this.#deviceListeners.delete(listener) }
  }

  /** Tells of a device, as udev would hear it. */
  tellDevice(event: DeviceEvent): void {
    for (const listener of this.#deviceListeners) listener(event)
  }
  namespaceInode(path: string) {
    return this.namespaces.has(path) ? BigInt([...this.namespaces.keys()].indexOf(path) + 1) : undefined
  }
  watchLinks(ns: Namespace, listener: (event: LinkEvent) => void) {
    const entry = { ns: keyOf(ns), listener }
    this.#listeners.add(entry)
    return { close: () => this.#listeners.delete(entry) }
  }
  async nftLoad(_ns: Namespace, ruleset: string) {
    this.writes.push('nft load')
    for (const rules of [vxlanRules(4789), bridgeRules()]) {
      if (!ruleset.includes(`table inet ${rules.table} `)) continue
      for (const set of Object.keys(rules.sets)) this.elements.set(`${rules.table} ${set}`, this.elements.get(`${rules.table} ${set}`) ?? new Map())
      this.elements.set(
        `${rules.table} loaded`,
        new Map([['', { key: Buffer.from(valuesHex([{ type: 'ifname', value: rules.version }]), 'hex'), data: new Uint8Array() }]]),
      )
    }
  }
  async nftElements(_ns: Namespace, { table, set }: NftSet, changes: { readonly add?: readonly NftElement[]; readonly remove?: readonly NftElement[] }) {
    const elements = this.elements.get(`${table} ${set}`)
    if (elements === undefined) throw new Refusal('ENOENT')
    this.#refuse('nft')
    this.writes.push(`nft ${set}`)
    const bytes = (values: NftElement['key']) => Buffer.from(valuesHex(values), 'hex')
    for (const { key } of changes.remove ?? []) elements.delete(valuesHex(key))
    for (const { key, data } of changes.add ?? []) elements.set(valuesHex(key), { key: bytes(key), data: bytes(data ?? []) })
  }
  async nftList(_ns: Namespace, { table, set }: NftSet) {
    const elements = this.elements.get(`${table} ${set}`)
    if (elements === undefined) throw new Refusal('ENOENT')
    return [...elements.values()]
  }
  async probe() {
    return this.features
  }
  async close() {}

  /** The host's uplink, with an address. */
  uplink(name: string, address: string): void {
    const { index } = this.#link('own', name, '', { up: true })
    this.#of('own').addresses.push({ linkIndex: index, address })
  }

  /** Elements of a set in words. */
  listed(table: string, set: string): string[] {
    const shape = [vxlanRules(4789), bridgeRules()].find((rules) => rules.table === table)?.sets[set]
    const words = (types: readonly NftElement['key'][number]['type'][], bytes: Uint8Array) =>
      decodeValues(types, bytes)
        .map(({ value }) => value)
        .join(' . ')
    return [...(this.elements.get(`${table} ${set}`)?.values() ?? [])].map(
      ({ key, data }) => `${words(shape?.key ?? [], key)}${shape?.data.length ? ` : ${words(shape.data, data)}` : ''}`,
    )
  }

  #refuse(operation: string): void {
    const errno = this.refusals.get(operation)?.shift()
    if (errno !== undefined) throw new Refusal(errno)
  }
  #of(ns: Namespace) {
    const space = this.namespaces.get(keyOf(ns))
    if (space === undefined) throw new Refusal('ENOENT')
    return space
  }
  #add(ns: string): void {
    this.namespaces.set(ns, { links: new Map(), entries: [], addresses: [] })
  }
}
