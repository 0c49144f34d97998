/** Who makes Docker's networks. `local`: every Docker host its own, and they meet by name. `global`: a swarm's manager, for all nodes. */
export const dockerScopes = ['local', 'global'] as const
export type DockerScope = (typeof dockerScopes)[number]

/** Of the pools of networks without a name of their own: the nodes of a swarm ask for the pool that their manager got. */
export function poolSpaceOf(scope: DockerScope, host: string): string {
  return scope === 'global' ? 'docker-swarm' : `docker-${host}`
}

/** Of a swarm's network, whose NetworkID is the same on every node. */
export function swarmAlias(networkId: string): string {
  return `docker:swarm:${networkId}`
}
