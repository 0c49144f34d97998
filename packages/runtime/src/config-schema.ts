/** What a zod schema says about the settings below it: their paths, how text becomes a value, and which name was meant. */
import type { z } from 'zod'

export type SettingKind = 'text' | 'number' | 'boolean' | 'list' | 'json'

/** Path in dots (`gateway.cniSocket`) to the kind of its value. */
export type Settings = ReadonlyMap<string, SettingKind>

export function settingsOf(schema: z.ZodType): Settings {
  const settings = new Map<string, SettingKind>()
  collect(schema, '', settings)
  return settings
}

/** The part of zod's definition read here (zod 4, `schema.def`). */
interface Definition {
  readonly type: string
  readonly shape?: Readonly<Record<string, z.ZodType>>
  readonly innerType?: z.ZodType
  readonly in?: z.ZodType
}

function collect(schema: z.ZodType, path: string, settings: Map<string, SettingKind>): void {
  const definition = schema.def as Definition
  const inner = definition.innerType ?? definition.in
  if (inner !== undefined) collect(inner, path, settings)
  else if (definition.type === 'object') {
    for (const [key, member] of Object.entries(definition.shape ?? {})) collect(member, path === '' ? key : `${path}.${key}`, settings)
  } else settings.set(path, kinds[definition.type] ?? 'text')
}

const kinds: Readonly<Record<string, SettingKind>> = {
  number: 'number',
  int: 'number',
  boolean: 'boolean',
  array: 'list',
  record: 'json',
  union: 'json',
  any: 'json',
}

/** `gateway.cniSocket` -> `HEDDLE_GATEWAY_CNI_SOCKET`. */
export function variableOf(path: string): string {
  return `HEDDLE_${path
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/[.-]/g, '_')
    .toUpperCase()}`
}

/** Text of a variable or flag as its setting's kind; what does not fit stays text and is refused by the schema. */
export function parseText(text: string, kind: SettingKind): unknown {
  if (kind === 'number') return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text)
  if (kind === 'boolean') return /^(?:true|1|yes|on)$/i.test(text) ? true : /^(?:false|0|no|off)$/i.test(text) ? false : text
  if (kind === 'list' && !text.trimStart().startsWith('[')) return text === '' ? [] : text.split(',').map((entry) => entry.trim())
  if (kind === 'text') return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Up to three of `known` that could have been meant, nearest first. */
export function nearMisses(name: string, known: Iterable<string>): readonly string[] {
  const last = name.slice(name.lastIndexOf('.') + 1).toLowerCase()
  const scored = [...known].map((candidate) => {
    const inPlace = distance(name.toLowerCase(), candidate.toLowerCase())
    const elsewhere = distance(last, candidate.slice(candidate.lastIndexOf('.') + 1).toLowerCase()) + 1
    return { candidate, score: Math.min(inPlace, elsewhere) }
  })
  return scored
    .filter(({ score }) => score <= Math.max(2, last.length / 3))
    .sort((a, b) => a.score - b.score)
    .slice(0, 3)
    .map(({ candidate }) => candidate)
}

/** Levenshtein. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, other] of [...b].entries()) next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)))
    row = next
  }
  return row[b.length] ?? 0
}
