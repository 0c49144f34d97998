/** Tables and values for people, JSON for scripts. */

/** Columns as wide as their widest cell, two spaces between, no trailing blanks; empty cells are "-". */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows.map((row) => row.map((cell) => (cell === '' ? '-' : cell)))]
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

/** `label:  value` lines; entries without a value are left out. */
export function facts(entries: readonly (readonly [label: string, value: string])[]): string {
  const shown = entries.filter(([, value]) => value !== '')
  const width = Math.max(0, ...shown.map(([label]) => label.length)) + 1
  return shown.map(([label, value]) => `${`${label}:`.padEnd(width)}  ${value}\n`).join('')
}

/** `2 ms`, `1.25 s`: three significant digits at most. */
export function duration(milliseconds: number): string {
  if (milliseconds < 10) return `${milliseconds.toFixed(2)} ms`
  if (milliseconds < 100) return `${milliseconds.toFixed(1)} ms`
  if (milliseconds < 1_000) return `${milliseconds.toFixed(0)} ms`
  return `${(milliseconds / 1_000).toFixed(2)} s`
}

/** `2026-01-31 12:30:59` in UTC. */
export function timestamp(rfc3339: string): string {
  return rfc3339.replace('T', ' ').replace(/(\.\d+)?Z$/, '')
}

/** The beginning of an id, as long as people need to tell it from others. */
export function shortId(id: string): string {
  return id.slice(0, 12)
}

/** Free addresses of a pool: 2^63 - 1 stands for "at least so many". */
export function count(value: bigint): string {
  return value >= 2n ** 63n - 1n ? 'unlimited' : String(value)
}

export function print(json: boolean, value: unknown, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(value, null, 2)}\n` : text())
}
