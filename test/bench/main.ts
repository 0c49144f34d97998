/**
 * `npm run bench [-- --only id,id] [--json FILE]`: each figure side by side with its rival, in the same run.
 * Prints a table; writes an array of figures to FILE. Ends with 1 when a suite could not be run; a bar not met is shown, not an error.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { LabError } from '@heddle/testkit'
import { cniSuite } from './cni.ts'
import { crowdSuite } from './crowd.ts'
import { dockerSuite } from './docker.ts'
import { type Figure, type Suite, table } from './figures.ts'
import { ipamSuite } from './ipam.ts'
import { memorySuite } from './memory.ts'
import { peersSuite } from './peers.ts'
import { throughputSuite } from './throughput.ts'
import { vfSuite } from './vf.ts'
import { vfClaimSuite } from './vf-claim.ts'

const { values } = parseArgs({ options: { only: { type: 'string' }, json: { type: 'string' } } })
const wanted = values.only?.split(',')

const suites: readonly Suite[] = [cniSuite, crowdSuite, dockerSuite, ipamSuite, throughputSuite, peersSuite, memorySuite, vfClaimSuite, vfSuite]
const known = suites.flatMap((suite) => suite.ids)
const unknown = wanted?.filter((id) => !known.includes(id)) ?? []
if (unknown.length > 0) {
  process.stderr.write(`no such figure: ${unknown.join(', ')}; there are ${known.join(', ')}\n`)
  process.exit(2)
}

const begun = performance.now()
const progress = (line: string) => process.stderr.write(`[${((performance.now() - begun) / 1000).toFixed(1).padStart(6)} s] ${line}\n`)
const figures: Figure[] = []
let failed = false
for (const suite of suites) {
  if (wanted !== undefined && !suite.ids.some((id) => wanted.includes(id))) continue
  progress(`${suite.ids.join(', ')} ...`)
  try {
    figures.push(...(await suite.run(progress)))
  } catch (error) {
    if (error instanceof LabError && error.interrupted) {
      progress(`${suite.ids.join(', ')}: ${error.message}`)
      process.exit(130)
    }
    failed = true
    progress(`${suite.ids.join(', ')} could not be measured: ${error instanceof Error ? error.stack : String(error)}`)
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`)
}
process.stdout.write(`${table(figures)}\n`)
process.exit(failed ? 1 : 0)
