/** Every rule, in the order in which they are proved. */
import { endpointRules } from './endpoint.ts'
import { httpRules } from './http.ts'
import { ipamRules } from './ipam.ts'
import { joinRules } from './join.ts'
import { networkRules } from './network.ts'

export const rules = [...httpRules, ...networkRules, ...endpointRules, ...joinRules, ...ipamRules]

/** Markdown. */
export function ruleTable(): string {
  const rows = rules.map(({ id, section, text }) => `| ${id} | ${section} | ${text} |\n`)
  return `| rule | section | what is proved |\n|---|---|---|\n${rows.join('')}`
}
