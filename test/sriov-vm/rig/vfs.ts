/** What the tests say of VFs, as the command line of the cluster shows them. */
import type { HeddleProcess } from '@heddle/testkit'
import { eventually } from './host.ts'

/** JSON of the contract's Vf, as far as the tests look. */
export interface ShownVf {
  readonly pci: string
  readonly index?: number
  readonly state: string
  readonly reason?: string
  readonly driver: string
  readonly name?: string
  readonly mac?: string
  readonly generation: string
  readonly settings: Readonly<Record<string, unknown>>
  readonly baseline?: { readonly settings: Readonly<Record<string, unknown>>; readonly name?: string; readonly mac?: string }
  readonly claim?: { readonly owner?: string; readonly releasing?: boolean }
}

export async function vfsOf(control: HeddleProcess, host: string): Promise<readonly ShownVf[]> {
  return ((await control.json(['vf', 'ls', '--host', host])) as { vf: ShownVf }[]).map(({ vf }) => vf)
}

/** Every VF free and at its baseline. */
export async function allReady(control: HeddleProcess, host: string, count: number): Promise<readonly ShownVf[]> {
  let seen: readonly ShownVf[] = []
  await eventually(
    `${count} VFs of ${host} at their baseline and free`,
    async () => {
      seen = await vfsOf(control, host)
      return seen.length === count && seen.every((vf) => vf.state === 'ready' && vf.claim === undefined)
    },
    () => seen.map(({ pci, state, reason, claim }) => JSON.stringify({ pci, state, reason, claim })).join('\n'),
  )
  return seen
}

/** What of a VF must be as before once nobody has it. A driver may tell its PF the MAC it has: no administrative one, to everybody else. */
export function shapeOf({ pci, settings, mac, name, driver }: ShownVf): object {
  return { pci, mac, name, driver, settings: { ...settings, mac: settings['mac'] === mac ? '00:00:00:00:00:00' : settings['mac'] } }
}

/** How many addresses each pool still has. */
export async function freeAddresses(control: HeddleProcess): Promise<readonly (readonly [string, string])[]> {
  const pools = (await control.json(['pool', 'ls'])) as { pool: { id: string }; free: string }[]
  return pools.map(({ pool, free }) => [pool.id, free] as const)
}
