/**
 * `HEDDLE_SEED=... node kill.js POINTS`: the hands are killed (SIGKILL) again and again while they attach and detach several VFs, each at
 * another random point of it, until so many were interrupted. The next ones start with what vf-allocator would have on record; then every
 * VF must be at its baseline, or owned and whole. Ends with the first that is not. Prints as JSON what was seen.
 */
import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { seededRandom } from '../../chaos/random.ts'
import { look, type Place } from './kill/look.ts'
import type { Answer } from './kill/orders.ts'
import { type Style, Subject, styles } from './kill/subject.ts'
import { Victim } from './kill/victim-process.ts'

const wanted = Number(process.argv[2])
const random = seededRandom()
const pf = '/sys/bus/pci/devices/0000:01:00.0'
const pfName = readdirSync(`${pf}/net`)[0] ?? ''
const steps: Record<string, number> = {}
const ip = (...command: string[]) => execFileSync('ip', command)
const log = (line: string) => appendFileSync('/out/kill.log', `${line}\n`)

const oneOf = <T>(...choices: readonly [T, ...T[]]): T => choices[Math.floor(random.next() * choices.length)] as T
const nextStyle = (): Style => (random.next() < 0.5 ? 'plain' : oneOf<Style>('mac', 'vfio-pci', 'trunk'))

function vanish({ sandbox }: Place): void {
  ip('netns', 'del', sandbox)
}

/** Each VF with a namespace for its endpoints. */
function places(): Place[] {
  return readdirSync(pf)
    .filter((name) => /^virtfn\d+$/.test(name))
    .map((name) => {
      const [netdev] = readdirSync(`${pf}/${name}/net`)
      const pci = basename(readlinkSync(`${pf}/${name}`))
      const index = Number(name.slice('virtfn'.length))
      const sandbox = `k${index}`
      ip('netns', 'add', sandbox)
      return { pci, index, mac: readFileSync(`${pf}/${name}/net/${netdev}/address`, 'utf8').trim(), sandbox }
    })
}

/** Both: false when the victim was killed meanwhile. */
async function attach(victim: Victim, subject: Subject): Promise<boolean> {
  const answer = await victim.order({ do: 'attach', endpoint: subject.endpoint, gateway: subject.gateway })
  if (answer?.error !== undefined) throw new Error(`${subject.place.pci}: attach (${subject.style}): ${answer.error}`)
  if (answer !== undefined) subject.phase = 'attached'
  return answer !== undefined
}

async function detach(victim: Victim, subject: Subject): Promise<boolean> {
  subject.phase = 'detaching'
  const answer = await victim.order({ do: 'detach', endpoint: subject.endpoint })
  if (answer?.error !== undefined) throw new Error(`${subject.place.pci}: detach (${subject.style}): ${answer.error}`)
  if (answer !== undefined) subject.free()
  return answer !== undefined
}

async function check(subjects: readonly Subject[]): Promise<void> {
  const seen = await look(
    pfName,
    subjects.map(({ place }) => place),
  )
  const wrongs = subjects.flatMap((subject, position) => subject.wrongs(seen[position] as (typeof seen)[0]))
  if (wrongs.length > 0) throw new Error(wrongs.join('\n'))
}

interface Took {
  attach: number
  detach: number
}
/** Of the first time in a process, as after each kill. */
const took = {} as Record<Style, Took>

async function measure(victim: Victim, subjects: readonly Subject[]): Promise<void> {
  for (const style of styles) took[style] = { attach: 0, detach: 0 }
  await Promise.all(
    subjects.map(async (subject, position) => {
      const style = styles[position % styles.length] as Style
      subject.claim(style)
      const startMs = performance.now()
      await attach(victim, subject)
      took[style].attach = performance.now() - startMs
    }),
  )
  await check(subjects)
  await Promise.all(
    subjects.map(async (subject) => {
      const { style } = subject
      const startMs = performance.now()
      await detach(victim, subject)
      took[style].detach = performance.now() - startMs
    }),
  )
  await check(subjects)
}

/** Each VF's operation is as old as it happens to be when all end at once. */
async function attack(victim: Victim, subjects: readonly Subject[]): Promise<void> {
  const plans = subjects.map((subject) => {
    const style = subject.phase === 'free' ? nextStyle() : subject.style
    const all = took[style].detach + (subject.phase === 'free' ? took[style].attach : 0)
    return { subject, style, ageMs: random.next() * all }
  })
  const endMs = Math.max(...plans.map(({ ageMs }) => ageMs))
  const going = plans.map(async ({ subject, style, ageMs }) => {
    await delay(endMs - ageMs)
    const startMs = performance.now()
    const wasFree = subject.phase === 'free'
    if (wasFree) {
      subject.claim(style)
      if (!(await attach(victim, subject))) return
    }
    if (!(await detach(victim, subject)) || !wasFree) return
    // Sooner than was thought.
    const factor = (performance.now() - startMs) / (took[style].attach + took[style].detach)
    took[style] = { attach: took[style].attach * factor, detach: took[style].detach * factor }
  })
  // Each of them ends with the victim.
  const ended = Promise.all(going)
  await Promise.race([delay(endMs), ended])
  await victim.kill()
  await ended
}

type Fate = 'kept' | 'again' | 'deleted' | 'swept'

/** What becomes of an endpoint whose hands were killed; a sandbox may end with them. */
function fateOf(subject: Subject): Fate {
  if (subject.phase === 'free') return 'kept'
  const gone = random.next() < 0.2
  if (gone) {
    vanish(subject.place)
    steps[`${subject.phase}, sandbox gone`] = (steps[`${subject.phase}, sandbox gone`] ?? 0) + 1
  }
  if (gone || subject.phase === 'detaching') return oneOf<Fate>('deleted', 'swept')
  return subject.phase === 'attached' ? oneOf<Fate>('kept', 'deleted', 'swept') : oneOf<Fate>('again', 'deleted', 'swept')
}

async function recover(victim: Victim, subjects: readonly Subject[]): Promise<void> {
  const fates = subjects.map((subject) => ({ subject, fate: fateOf(subject) }))
  await must(victim.order({ do: 'start', vfs: fates.map(({ subject, fate }) => subject.record(fate === 'swept')) }))
  for (const { sandbox } of subjects.map(({ place }) => place)) if (!existsSync(`/run/netns/${sandbox}`)) ip('netns', 'add', sandbox)
  const settled = must(victim.order({ do: 'settle' }))
  await Promise.all([
    settled,
    ...fates.map(async ({ subject, fate }) => {
      if (fate === 'again') await attach(victim, subject)
      else if (fate === 'deleted') await detach(victim, subject)
      else if (fate === 'swept') await settled.then(() => subject.free())
    }),
  ])
  await check(subjects)
}

async function must(order: Promise<Answer | undefined>): Promise<Answer> {
  const answer = await order
  if (answer === undefined || answer.error !== undefined) throw new Error(`the hands do not start: ${answer?.error ?? 'they ended'}`)
  return answer
}

let kills = 0
let points = 0
let wrong = ''
try {
  const found = places()
  let victim = new Victim()
  await must(victim.order({ do: 'start', vfs: [] }))
  const first = await must(victim.order({ do: 'settle' }))
  const baselines = await look(pfName, found)
  const subjects = found.map((place, position) => {
    const vf = (first.vfs as any[]).find(({ pci }) => pci === place.pci)
    if (vf?.baseline === undefined) throw new Error(`no baseline of ${place.pci} was reported: ${JSON.stringify(vf)}`)
    return new Subject(place, vf, baselines[position] as (typeof baselines)[0])
  })
  await measure(victim, subjects)
  log(JSON.stringify(took))
  let next = new Victim()
  while (points < wanted) {
    await attack(victim, subjects)
    kills++
    points += subjects.filter(({ phase }) => phase !== 'free').length
    const seen = await look(pfName, found)
    for (const [position, subject] of subjects.entries()) {
      const step = subject.step(seen[position] as (typeof seen)[0])
      steps[step] = (steps[step] ?? 0) + 1
    }
    victim = next
    await victim.ready
    next = new Victim()
    await recover(victim, subjects)
    log(`${kills} ${points} ${Math.round(performance.now())}`)
  }
  for (const subject of subjects) if (subject.phase !== 'free') await detach(victim, subject)
  await check(subjects)
  await Promise.all([victim.kill(), next.kill()])
} catch (error) {
  wrong = `after kill ${kills}: ${(error as Error).message}`
}
process.stdout.write(JSON.stringify({ kills, points, wrong, steps, took, ms: Math.round(performance.now()) }))
process.exit()
