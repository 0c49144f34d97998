/** The contract's Overlay service: checks what is asked and hands it on. */
import type { Handlers } from '@heddle/bus'
import type { OverlayDefinition } from '@heddle/contract'
import { checkHostName, invalid } from '@heddle/core'
import { checkHost, hostInUse } from './domain/hosts.ts'
import { checkNetworkId } from './domain/vni.ts'
import type { PeerPublisher } from './peers.ts'
import type { OverlayRepo } from './repo.ts'

export function overlayHandlers(repo: OverlayRepo, peers: PeerPublisher, hostTtlMs: number): Handlers<OverlayDefinition> {
  return {
    async claimVni({ networkId, vni }, call) {
      return { vni: await repo.claimVni(checkNetworkId(networkId), vni, call) }
    },
    async releaseVni({ networkId }, call) {
      await repo.releaseVni(checkNetworkId(networkId), call)
      return {}
    },
    async registerHost({ host }, call) {
      if (host === undefined) throw invalid('host', 'the host is missing')
      await repo.registerHost(checkHost(host, call.clock.timestamp()), call)
      // Two may be lost before the third would be too late.
      return { heartbeatMs: Math.floor(hostTtlMs / 3) }
    },
    async heartbeat({ host, epoch }, call) {
      await repo.heartbeat(checkHostName(host), epoch, call)
      return {}
    },
    async listHosts() {
      return { hosts: repo.hosts }
    },
    async removeHost({ name }, call) {
      const networkIds = peers.networksOf(checkHostName(name, 'name'))
      if (networkIds.length > 0) throw hostInUse(name, networkIds)
      await repo.removeHost(name, call)
      return {}
    },
    async snapshot({ networkId, page, revision }) {
      return peers.snapshot(checkNetworkId(networkId), page, revision)
    },
  }
}
