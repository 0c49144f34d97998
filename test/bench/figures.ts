/** What a benchmark answers, and how it is shown. */

export interface Figure {
  readonly id: string
  readonly what: string
  readonly unit: string
  readonly ours: number
  readonly rival: number
  readonly rivalName: string
  /** ours / rival. */
  readonly ratio: number
}

/** One group of figures measured together, because they share a set-up or a rival. */
export interface Suite {
  readonly ids: readonly string[]
  run(progress: (line: string) => void): Promise<readonly Figure[]>
}

export function figure(parts: Omit<Figure, 'ratio'>): Figure {
  return { ...parts, ours: round(parts.ours), rival: round(parts.rival), ratio: round(parts.ours / parts.rival) }
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** Nearest-rank quantile; NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN
}

/** Milliseconds until `action` is done. */
export async function timed(action: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await action()
  return performance.now() - begun
}

/** What each figure must reach, as ratio or absolute value: the bar of the project's own goals. */
export const bars: Readonly<Record<string, { readonly is: 'ratio' | 'ours'; readonly at: 'most' | 'least'; readonly value: number }>> = {
  'cni-add': { is: 'ratio', at: 'most', value: 0.4 },
  'cni-add-ptp': { is: 'ratio', at: 'most', value: 0.6 },
  'cni-del': { is: 'ratio', at: 'most', value: 0.2 },
  'cni-add-16': { is: 'ratio', at: 'least', value: 4 },
  'cni-del-16': { is: 'ratio', at: 'least', value: 5 },
  'cni-burst-100': { is: 'ours', at: 'most', value: 150 },
  'endpoints-2000': { is: 'ratio', at: 'most', value: 1.3 },
  'published-port-2000': { is: 'ratio', at: 'most', value: 1.3 },
  'published-port-tcp': { is: 'ratio', at: 'least', value: 1.0 },
  'docker-run-overlay': { is: 'ratio', at: 'most', value: 0.35 },
  'docker-run-bridge': { is: 'ratio', at: 'most', value: 0.8 },
  'docker-network-create': { is: 'ratio', at: 'most', value: 0.5 },
  'docker-network-rm': { is: 'ratio', at: 'most', value: 0.5 },
  'docker-connect': { is: 'ratio', at: 'most', value: 0.35 },
  'docker-disconnect': { is: 'ratio', at: 'most', value: 0.6 },
  'ipam-claims': { is: 'ours', at: 'least', value: 10_000 },
  'overlay-tcp': { is: 'ratio', at: 'least', value: 1.0 },
  'overlay-tcp-underlay': { is: 'ratio', at: 'least', value: 0.72 },
  'peers-programmed': { is: 'ours', at: 'most', value: 50 },
  'vf-claim': { is: 'ours', at: 'most', value: 10 },
  'vf-attach': { is: 'ratio', at: 'most', value: 0.5 },
  'vf-detach': { is: 'ratio', at: 'most', value: 0.5 },
  'rss-host': { is: 'ours', at: 'most', value: 120 },
  'rss-embedded': { is: 'ours', at: 'most', value: 200 },
}

export function meetsBar(measured: Figure): boolean | undefined {
  const bar = bars[measured.id]
  if (bar === undefined) return undefined
  return bar.at === 'most' ? measured[bar.is] <= bar.value : measured[bar.is] >= bar.value
}

export function table(figures: readonly Figure[]): string {
  const rows = figures.map((measured) => {
    const bar = bars[measured.id]
    const wanted = bar === undefined ? '' : `${bar.is === 'ratio' ? 'ratio' : measured.unit} ${bar.at === 'most' ? '<=' : '>='} ${bar.value}`
    const verdict = meetsBar(measured)
    return [
      measured.id,
      measured.what,
      `${measured.ours}`,
      `${measured.rival}`,
      measured.unit,
      `${measured.ratio}`,
      wanted,
      verdict === undefined ? '' : verdict ? 'yes' : 'NO',
      measured.rivalName,
    ]
  })
  const cells = [['id', 'what', 'ours', 'rival', 'unit', 'ratio', 'bar', 'met', 'rival is'], ...rows]
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length))) ?? []
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function round(value: number): number {
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(4))
}
