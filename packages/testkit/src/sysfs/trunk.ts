/** The VLAN trunk file of out-of-tree drivers: `add 2,4-7` and `rem 4`; read, it lists what is admitted. */
import { readFileSync, writeFileSync } from 'node:fs'
import { errno } from './kernel.ts'

export function changeTrunk(path: string, command: string): void {
  const [, verb, list] = /^(add|rem) (\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)$/.exec(command) ?? []
  if (list === undefined) throw errno('EINVAL', command)
  const admitted = new Set(expand(readFileSync(path, 'utf8').trim()))
  for (const vlan of expand(list)) {
    if (vlan < 1 || vlan > 4094) throw errno('EINVAL', `VLAN ${vlan}`)
    if (verb === 'add') admitted.add(vlan)
    else admitted.delete(vlan)
  }
  writeFileSync(path, `${[...admitted].sort((a, b) => a - b).join(',')}\n`)
}

function expand(list: string): number[] {
  return list.split(',').flatMap((part) => {
    if (part === '') return []
    const [first = 0, last = first] = part.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, at) => first + at)
  })
}
