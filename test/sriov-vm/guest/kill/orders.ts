/** What the supervisor tells a victim, and what that answers. VFs and endpoints as JSON of the contract. */
export const host = 'guest'
export const networkId = 'n1'

export type Order = { readonly number: number } & (
  | {
      /** As the hands start: with what vf-allocator has on record. Answered when they would serve. */
      readonly do: 'start'
      readonly vfs: readonly unknown[]
    }
  /** Answered, with what is on record, when the hands have put back every VF whose claim was `releasing`. */
  | { readonly do: 'settle' }
  | { readonly do: 'attach'; readonly endpoint: unknown; readonly gateway: string }
  | { readonly do: 'detach'; readonly endpoint: unknown }
)

export interface Answer {
  readonly number: number
  readonly vfs: readonly unknown[]
  /** Why it failed. */
  readonly error?: string
}
