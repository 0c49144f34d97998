/**
 * `npm run bench [-- --only id,id] [--json FILE]`: each figure side by side with its rival, in the same run.
 * Prints a table; writes an array of figures to FILE. Ends with 1 when a suite could not be run; a bar not met is shown, not an error.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Figure, type Suite, table } from './figures.ts'

const { values } = parseArgs({ options: { only: { type: 'string' }, json: { type: 'string' } } })
const wanted = values.only?.split(',')

const suites: readonly (() => Promise<Suite>)[] = [
  async () => (await import('./cni.ts')).cniSuite,
  async () => (await import('./docker.ts')).dockerSuite,
  async () => (await import('./ipam.ts')).ipamSuite,
  async () => (await import('./throughput.ts')).throughputSuite,
  async () => (await import('./peers.ts')).peersSuite,
  async () => (await import('./memory.ts')).memorySuite,
]

const begun = performance.now()
const progress = (line: string) => process.stderr.write(`[${((performance.now() - begun) / 1000).toFixed(1).padStart(6)} s] ${line}\n`)
const figures: Figure[] = []
let failed = false
for (const load of suites) {
  const suite = await load()
  if (wanted !== undefined && !suite.ids.some((id) => wanted.includes(id))) continue
  progress(`${suite.ids.join(', ')} ...`)
  try {
    figures.push(...(await suite.run(progress)))
  } catch (error) {
    failed = true
    progress(`${suite.ids.join(', ')} could not be measured: ${error instanceof Error ? error.stack : String(error)}`)
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`)
}
process.stdout.write(`${table(figures)}\n`)
process.exit(failed ? 1 : 0)
