/** host-device: a link of the host itself, moved into the sandbox and back. What it was like before is in its mark. */
import type { Endpoint, Network } from '@heddle/contract'
import { type Call, HeddleError } from '@heddle/core'
import type { MoveLink, Step } from '@heddle/kernel'
import { announceWhenRunning } from '../announce.ts'
import { markOf } from '../domain/marks.ts'
import { handoverName } from '../domain/names.ts'
import { interfaceExists, kernelFailure, refusalOf } from '../errors.ts'
import type { Place } from '../lone/places.ts'
import type { Plan, Source, Target } from '../lone/source.ts'
import { type FindParts, findDevice, isMeant, wishOf, wishText } from './find.ts'

export class Devices implements Source {
  readonly #parts: FindParts

  constructor(parts: FindParts) {
    this.#parts = parts
  }

  /** No link has a blank in its name, so none is taken for this. */
  key(network: Network): string {
    return `device ${wishText(wishOf(network))}`
  }

  async plan(network: Network, { id }: Endpoint, { ns: to, name: rename, sandbox }: Target, call: Call): Promise<Plan> {
    const { context, places } = this.#parts
    const link = await findDevice(this.#parts, wishOf(network), call)
    const { name, mac, mtu, up, alias } = link
    const mark = markOf({ host: places.host, endpointId: id, networkId: network.id, device: { name, mac, mtu, up, alias } })
    const ns = context.hostNs
    const move: MoveLink = { op: 'link.move', ns, name, to, rename, ...(network.mtu === 0 || network.mtu === mtu ? {} : { mtu: network.mtu }) }
    if (sandbox !== '') return { steps: [{ ...move, alias: mark, up: true }], mac, undo: async () => {} }
    // dockerd moves a link under the name it has, and sets it up itself; one that is up is not renamed before Linux 6.2. Marked at once,
    // or nobody would know after a crash between the two that it was up.
    const steps: Step[] = [{ op: 'link.set', ns, name, up: false, alias: mark }, move]
    const undo = async (late: Call) => {
      await context.kernel.run([{ op: 'link.set', ns, name, alias, ...(up ? { up } : {}), tolerate: ['ENODEV'] }], late)
    }
    return { steps, mac, undo }
  }

  async failure(error: unknown, { steps }: Plan, network: Network, { name, sandbox }: Target): Promise<HeddleError> {
    const { context } = this.#parts
    const errno = refusalOf(error)?.errno
    if (errno === 'EEXIST') return interfaceExists(name, sandbox || 'the host namespace')
    if (errno !== 'EINVAL' && errno !== 'ERANGE') return kernelFailure(error, steps, context.kernel, sandbox)
    const why = network.mtu === 0 ? 'it stays in the namespace it is in' : `it stays in the namespace it is in, or does not take MTU ${network.mtu}`
    return new HeddleError('unsupported', `device ${wishText(wishOf(network))} cannot be given away: ${why} (${errno})`, {
      field: 'network.parent',
      remedy: 'take another device, or leave the MTU of the network out',
      cause: error,
    })
  }

  async differences(network: Network, _endpoint: Endpoint, { link, mark }: Place): Promise<string[]> {
    const before = mark.device
    const wish = wishOf(network)
    if (before === undefined || !isMeant(wish, before, link)) return [`${link.name} is not device ${wishText(wish)}`]
    const mtu = network.mtu || before.mtu
    return [
      ...(link.mac === before.mac ? [] : [`${link.name} has MAC ${link.mac}, it should be ${before.mac}`]),
      ...(link.mtu === mtu ? [] : [`${link.name} has MTU ${link.mtu}, it should be ${mtu}`]),
    ]
  }

  /** A card needs a moment for its carrier; one that waits for dockerd is announced by nobody. */
  announce(_network: Network, { ns, name, sandbox, endpointId }: Target, mac: string, addresses: readonly string[]): Step[] {
    if (sandbox !== '') announceWhenRunning(this.#parts.context, { ns, name, mac, addresses, endpointId }, () => true)
    return []
  }

  /** Back to the host under its own name, as it was. The mark goes with the last step, so it may end at any of them and begin again. */
  async takeAway({ ns, link, mark, above }: Place, call: Call): Promise<boolean> {
    const { kernel, hostNs, logger } = this.#parts.context
    const before = mark.device
    if (before === undefined) return false
    for (const { name } of above) await kernel.removeLink(ns, name, call)
    const { mac, mtu, alias, up } = before
    const settle = { ...(link.mac === mac ? {} : { mac }), ...(link.mtu === mtu ? {} : { mtu }), alias, up }
    // Its own name may be another's by now.
    const names = [...new Set([before.name, link.name, handoverName(mark.endpointId)])]
    for (const rename of names) {
      const move: MoveLink = { op: 'link.move', ns, name: link.name, to: hostNs, rename, ...settle }
      try {
        await kernel.run([{ op: 'link.set', ns, name: link.name, up: false }, move], call)
        if (rename !== before.name) logger.warn({ device: before.name, link: rename }, 'the name of a device is taken on the host: it came back under another')
        return true
      } catch (error) {
        if (refusalOf(error)?.errno === 'EEXIST' && rename !== names.at(-1)) continue
        throw kernelFailure(error, [move], kernel)
      }
    }
    return false
  }
}
