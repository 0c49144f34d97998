/**
 * One schema, three sources in rising order: a YAML or JSON file, HEDDLE_* variables, flags. A name that is no setting is an
 * error that says which one was probably meant; a bad value is an error that says where it came from.
 */
import { readFile } from 'node:fs/promises'
import { HeddleError } from '@heddle/core'
import type { z } from 'zod'
import { nearMisses, parseText, type Settings, settingsOf, variableOf } from './config-schema.ts'

export interface ConfigSources {
  /** YAML or JSON. */
  readonly file?: string | undefined
  /** Usually `process.env`; only names beginning with HEDDLE_ are looked at. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** `a.b=value`, each as given to `--set`. */
  readonly flags?: readonly string[]
  /** HEDDLE_* variables that are no settings. */
  readonly ignoreEnv?: readonly string[]
}

/** HEDDLE_CONFIG names the file, HEDDLE_TEST marks a test run. */
const notSettings = ['HEDDLE_CONFIG', 'HEDDLE_TEST']

interface Given {
  readonly value: unknown
  /** For people: `HEDDLE_LOG_LEVEL`, `--set log.level`, `/etc/heddle.yaml`. */
  readonly source: string
}

/** Rejects with `invalid-argument` naming every fault; `field` is the first. */
export async function loadConfig<S extends z.ZodType>(schema: S, sources: ConfigSources): Promise<z.output<S>> {
  const settings = settingsOf(schema)
  const given = new Map<string, Given>()
  const faults: Fault[] = []
  if (sources.file !== undefined) readTree(await parseFile(sources.file), sources.file, settings, given, faults)
  readEnvironment(sources, settings, given, faults)
  readFlags(sources.flags ?? [], settings, given, faults)
  if (faults.length === 0) {
    const parsed = schema.safeParse(treeOf(given))
    if (parsed.success) return parsed.data
    for (const issue of parsed.error.issues) faults.push(faultOf(issue, given))
  }
  throw refusal(faults)
}

interface Fault {
  readonly field: string
  readonly message: string
  readonly remedy?: string | undefined
}

async function parseFile(file: string): Promise<unknown> {
  try {
    const text = await readFile(file, 'utf8')
    return (await import('./yaml.ts')).parse(text) ?? {}
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new HeddleError('invalid-argument', `the configuration file ${file} cannot be read: ${reason}`, { field: file, cause: error })
  }
}

/** Takes a parsed file apart into settings, so that a later source replaces single values. */
function readTree(tree: unknown, file: string, settings: Settings, given: Map<string, Given>, faults: Fault[], path = ''): void {
  if (settings.has(path)) {
    given.set(path, { value: tree, source: file })
  } else if (path !== '' && ![...settings.keys()].some((name) => name.startsWith(`${path}.`))) {
    faults.push(unknownName(path, file, settings.keys()))
  } else if (typeof tree !== 'object' || tree === null || Array.isArray(tree)) {
    // A section left empty in YAML is null.
    if (tree !== null) faults.push({ field: path, message: `${path === '' ? 'the whole' : path} (from ${file}) must be a section with settings in it` })
  } else {
    for (const [key, value] of Object.entries(tree)) readTree(value, file, settings, given, faults, path === '' ? key : `${path}.${key}`)
  }
}

function readEnvironment(sources: ConfigSources, settings: Settings, given: Map<string, Given>, faults: Fault[]): void {
  const byVariable = new Map([...settings.keys()].map((path) => [variableOf(path), path]))
  const ignored = new Set([...notSettings, ...(sources.ignoreEnv ?? [])])
  for (const [name, text] of Object.entries(sources.env ?? {})) {
    if (!name.startsWith('HEDDLE_') || ignored.has(name) || text === undefined) continue
    const path = byVariable.get(name)
    if (path === undefined) faults.push(unknownName(name, 'the environment', byVariable.keys()))
    else given.set(path, { value: parseText(text, settings.get(path) ?? 'text'), source: name })
  }
}

function readFlags(flags: readonly string[], settings: Settings, given: Map<string, Given>, faults: Fault[]): void {
  for (const flag of flags) {
    const [, path = flag, text] = /^([^=]*)=(.*)$/s.exec(flag) ?? []
    const kind = settings.get(path)
    if (kind === undefined) faults.push(unknownName(path, `--set ${flag}`, settings.keys()))
    else if (text === undefined) faults.push({ field: path, message: `--set ${flag} has no value`, remedy: `write --set ${path}=VALUE` })
    else given.set(path, { value: parseText(text, kind), source: `--set ${path}` })
  }
}

function unknownName(name: string, source: string, known: Iterable<string>): Fault {
  const near = nearMisses(name, known)
  return { field: name, message: `${name} (from ${source}) is not a setting`, remedy: near.length === 0 ? undefined : `did you mean ${near.join(' or ')}?` }
}

function treeOf(given: ReadonlyMap<string, Given>): unknown {
  const root: Record<string, unknown> = {}
  for (const [path, { value }] of given) {
    const keys = path.split('.')
    const last = keys.pop() ?? ''
    let section = root
    for (const key of keys) {
      section[key] ??= {}
      section = section[key] as Record<string, unknown>
    }
    section[last] = value
  }
  return root
}

function faultOf(issue: z.core.$ZodIssue, given: ReadonlyMap<string, Given>): Fault {
  const field = issue.path.join('.')
  const origin = [...given].find(([path]) => field === path || field.startsWith(`${path}.`))
  return { field, message: `${field} (${origin === undefined ? `not set; ${variableOf(field)}` : `from ${origin[1].source}`}): ${issue.message}` }
}

function refusal(faults: readonly Fault[]): HeddleError {
  const remedies = faults.flatMap(({ remedy }) => remedy ?? [])
  return new HeddleError('invalid-argument', faults.map(({ message }) => message).join('\n'), {
    field: faults[0]?.field,
    remedy: remedies.length === 0 ? undefined : remedies.join('; '),
  })
}
