/** What a PF sets for its VFs: written in one request, read back, and every refusal traced to the setting it is for. */
import type { VfSettings } from '@heddle/contract'
import { type Call, HeddleError, KeyedQueue, raceCall, sleep } from '@heddle/core'
import type { SetVf } from '@heddle/kernel'
import { kernelFailure, refusalOf } from '../errors.ts'
import type { HostContext } from '../host-context.ts'
import type { Cards, VfView } from './cards.ts'
import { adminStep, singleSettings } from './plan.ts'
import { settingDifferences } from './verify.ts'

/** A driver that is busy with another VF, or resets this one, takes it a moment later (sriov-cni #213). */
const transient: ReadonlySet<string> = new Set(['EBUSY', 'EAGAIN', 'ETIMEDOUT', 'EINTR'])
/** The caller's or the host's fault, not the setting's. */
const notTheSetting: ReadonlySet<string> = new Set(['EPERM', 'EACCES', 'ENODEV', 'ENOMEM', 'ENOBUFS', 'EIO'])

/** Waits between looks; iavf and i40e apply what is set after the request has been answered. */
const waitsMs = [5, 10, 20, 40, 80, 100, 100, 100, 100, 100, 150, 200, 250, 250, 250]
/** After this many looks in vain it is set once more. */
const setAgainAfter = 6

export class Admin {
  readonly #context: HostContext
  readonly #cards: Cards
  /** Admin operations of one PF do not race: one driver lock and one mailbox serve them all. */
  readonly #queue = new KeyedQueue()

  constructor(context: HostContext, cards: Cards) {
    this.#context = context
    this.#cards = cards
  }

  /**
   * Sets what differs and reads it back until it is there. Answers what its PF tells then, and whether its administrative MAC was changed.
   * `own` as for `adminStep`. Throws unsupported (naming the setting), kernel-refused.
   */
  async set(before: VfView, wanted: VfSettings, own: string, call: Call): Promise<{ readonly view: VfView; readonly macChanged: boolean }> {
    let view = before
    let macChanged = false
    let busy: unknown
    for (let look = 0; ; look++) {
      if (view.info === undefined) throw unreachable(view)
      const step = adminStep(this.#cards.at(view), view.info, wanted, own)
      // What the driver does not tell has been set once and counts as taken.
      if (step === undefined || (look > 0 && busy === undefined && settingDifferences(view.info, wanted, own).length === 0)) return { view, macChanged }
      const waitMs = waitsMs[look]
      if (waitMs === undefined) throw busy === undefined ? notTaken(view, step, settingDifferences(view.info, wanted, own)) : this.#failed(busy, [step])
      const setsNow = look % setAgainAfter === 0 || busy !== undefined
      busy = undefined
      if (setsNow) {
        macChanged ||= step.mac !== undefined
        await this.#queue.run(view.vf.pf, async () => {
          try {
            view = await this.#cards.asked(view, call, [step])
          } catch (error) {
            const errno = refusalOf(error)?.errno ?? ''
            if (!transient.has(errno)) throw await this.#which(view, step, error, call)
            busy = error
          }
        })
        // Most drivers have it at once.
        if (look === 0 && busy === undefined) continue
      }
      await sleep(call.clock, waitMs, call.signal)
      view = await this.#cards.asked(view, call)
    }
  }

  /** The kernel port names the setting; of a VLAN or a rate each part is tried, the caller undoes them all. */
  async #which(view: VfView, whole: SetVf, error: unknown, call: Call): Promise<HeddleError> {
    const errno = refusalOf(error)?.errno
    const named = HeddleError.is(error) ? error.details['setting'] : undefined
    if (errno === undefined || notTheSetting.has(errno)) return this.#failed(error, [whole])
    for (const { setting, value, step } of singleSettings(whole)) {
      if (named !== undefined && !(named in step)) continue
      try {
        await this.#context.kernel.run([step], call)
      } catch (refused) {
        // With its representor.
        const vf = (await raceCall(this.#cards.sysfs.virtualFunction(view.vf.pci), call)) ?? view.vf
        return unsupported({ ...view, vf }, setting, value, refusalOf(refused)?.errno ?? errno, refused)
      }
    }
    return this.#failed(error, [whole])
  }

  #failed(error: unknown, steps: readonly SetVf[]): HeddleError {
    return kernelFailure(error, steps, this.#context.kernel)
  }
}

const remedies: Readonly<Record<string, string>> = {
  mac: 'choose a unicast MAC address, or leave it out',
  vlan: 'choose another VLAN, or leave it out',
  vlanProto: 'use 802.1q',
  maxTxRate: "choose a rate up to the link's speed (some drivers take none while the PF has no link), or leave it out",
  minTxRate: 'leave it out, or choose a lower rate: few cards guarantee one',
  mtu: "choose an MTU up to the PF's, or raise the PF's",
}

/** `setting` as in the contract: the door that was asked knows its own name for it. */
export function unsupported(view: VfView, setting: string, value: string, errno: string, cause?: unknown): HeddleError {
  const { vf, pfName } = view
  const by = vf.driver === '' ? '' : ` (driver of the VF: ${vf.driver})`
  const switched =
    vf.representor === ''
      ? undefined
      : `PF ${pfName} is in switchdev mode, where a VF is set by its representor (${vf.representor}): leave ${setting} out, or devlink dev eswitch set pci/${vf.pf} mode legacy`
  return new HeddleError('unsupported', `PF ${pfName} does not take ${setting} ${value} for VF ${vf.pci}${by}: ${errno}`, {
    field: `endpoint.vf.settings.${setting}`,
    remedy: switched ?? remedies[setting] ?? `leave ${setting} out, or use a card whose driver supports it`,
    details: { setting, value, pci: vf.pci, pf: vf.pf, device: pfName, driver: vf.driver, errno },
    cause,
  })
}

function notTaken(view: VfView, step: SetVf, differences: readonly string[]): HeddleError {
  const setting = differences[0]?.split(' ')[0] ?? singleSettings(step)[0]?.setting ?? ''
  const value = singleSettings(step).find((single) => single.setting === setting)?.value ?? ''
  return unsupported(view, setting, value, `it was taken, but read back ${differences.join(', ')}`)
}

export function unreachable({ vf, pfName }: VfView): HeddleError {
  return new HeddleError('unsupported', `VF ${vf.pci} cannot be set: its PF ${pfName || vf.pf} has no netdev in the host's namespace`, {
    field: 'endpoint.vf.pf',
    remedy: "give the PF back to the host's namespace and its kernel driver; only it can set its VFs",
    details: { pci: vf.pci, pf: vf.pf },
  })
}
