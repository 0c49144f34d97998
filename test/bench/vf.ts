/**
 * A VF attached and detached in a guest with an emulated card: our hands (Prepare, Attach, Detach, without bus and etcd) against the
 * same steps in the sequence of sriov-cni, by the same kernel port. The times are those of an emulated processor; their ratio is
 * the figure.
 */
import { join, resolve } from 'node:path'
import { attempt, withLab } from '@heddle/testkit'
import { startGuest } from '../sriov-vm/rig/guest.ts'
import { type Figure, figure, median, type Suite } from './figures.ts'

const rounds = 32
const rivalName = "sriov-cni's sequence, same kernel port"
const prepare = resolve(import.meta.dirname, '../sriov-vm/rig/prepare.ts')
/** sysexits.h: guests cannot be had here. */
const unavailable = 75

type Operation = 'attach' | 'detach'
interface Sample {
  readonly ms: number
  readonly steps: Readonly<Record<string, readonly [count: number, ms: number]>>
}
type Samples = Readonly<Record<Operation, readonly Sample[]>>
type Sides = Readonly<Record<'ours' | 'rival', Samples>>
interface Answer {
  readonly own: Sides
  readonly withMac: Samples
}
const operations: readonly Operation[] = ['attach', 'detach']
const medianMs = (samples: readonly Sample[]): number => median(samples.map(({ ms }) => ms))

export const vfSuite: Suite = {
  ids: ['vf-attach', 'vf-detach'],
  async run(progress) {
    const { code, stdout, stderr } = await attempt([process.execPath, prepare], { timeoutMs: 600_000 })
    if (code === unavailable) {
      progress(`vf-attach, vf-detach: no guest with an emulated card on this machine: ${stdout.trim()}`)
      return []
    }
    if (code !== 0) throw new Error(`the guests could not be made: ${stderr || stdout}`)
    return withLab(async ({ scope, dir }) => {
      progress('a guest with an emulated card')
      const guest = await startGuest(scope, { name: 'bench', dir: join(dir, 'bench') })
      await guest.run('modprobe igb && modprobe igbvf')
      progress(`${rounds} rounds each`)
      const { own, withMac } = JSON.parse(await guest.run(`node /proj/bench.js ${rounds}`, { timeoutMs: 300_000 })) as Answer
      return operations.map((operation) => {
        for (const line of stepTable(operation, own)) progress(line)
        progress(`${operation}, ours with a MAC that is set, for which igbvf is bound anew: ${medianMs(withMac[operation]).toFixed(2)} ms`)
        return figureOf(operation, own)
      })
    })
  },
}

function figureOf(operation: Operation, samples: Sides): Figure {
  return figure({
    id: `vf-${operation}`,
    what: `VF ${operation === 'attach' ? 'set, moved in and addressed' : 'moved out, put back and verified'}, p50, guest with emulated card`,
    unit: 'ms',
    ours: medianMs(samples.ours[operation]),
    rival: medianMs(samples.rival[operation]),
    rivalName,
  })
}

/** Medians of what each step took in a round. Steps side by side are counted each, so they may be more than the whole. */
function stepTable(operation: Operation, samples: Sides): string[] {
  return (['ours', 'rival'] as const).flatMap((side) => {
    const of = samples[side][operation]
    const names = [...new Set(of.flatMap(({ steps }) => Object.keys(steps)))]
    const rows = names.map((name) => {
      const count = median(of.map(({ steps }) => steps[name]?.[0] ?? 0))
      return `  ${median(of.map(({ steps }) => steps[name]?.[1] ?? 0))
        .toFixed(2)
        .padStart(8)} ms  ${name}${count === 1 ? '' : ` (${count} times)`}`
    })
    return [`${operation}, ${side === 'ours' ? 'ours' : 'as sriov-cni'}: ${medianMs(of).toFixed(2)} ms, of that`, ...rows]
  })
}
