/** Durable claims a second: the measurement itself is in ipam-claims.ts. */
import type { Suite } from './figures.ts'
import { benchIpamClaims } from './ipam-claims.ts'

export const ipamSuite: Suite = {
  ids: ['ipam-claims'],
  run: async () => [await benchIpamClaims()],
}
