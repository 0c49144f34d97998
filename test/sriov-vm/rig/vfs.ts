/** What the tests say of VFs, as the command line of the cluster shows them. */
import type { HeddleProcess } from '@heddle/testkit'
import { eventually } from './host.ts'

/** JSON of the contract's Vf, as far as the tests look. */
export interface ShownVf {
  readonly pci: string
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
    () => JSON.stringify(seen, null, 1),
  )
  return seen
}
