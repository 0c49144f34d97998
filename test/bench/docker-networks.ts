/** `docker network create` and `rm` through the Engine API, each with a subnet of its driver's own choice: a network of kind bridge against Docker's bridge. */
import { type Figure, figure, median, timed } from './figures.ts'
import type { TwoHosts } from './two-hosts.ts'

const rounds = 20
const rivalName = "Docker's bridge driver"

export const networkIds = ['docker-network-create', 'docker-network-rm']

export async function networkFigures({ hosts }: TwoHosts, progress: (line: string) => void): Promise<Figure[]> {
  const [{ dockerd }] = hosts
  const drivers = {
    rival: { Driver: 'bridge' },
    ours: { Driver: 'heddle', Options: { kind: 'bridge' }, IPAM: { Driver: 'heddle' } },
  }
  const create: Record<string, number[]> = { ours: [], rival: [] }
  const rm: Record<string, number[]> = { ours: [], rival: [] }
  progress(`docker network create and rm: ${rounds} rounds`)
  for (let round = 0; round < rounds; round++) {
    for (const [whose, options] of Object.entries(drivers)) {
      const name = `made-${whose}-${round}`
      create[whose]?.push(await timed(() => dockerd.api('POST', '/networks/create', { Name: name, CheckDuplicate: true, ...options })))
      rm[whose]?.push(await timed(() => dockerd.api('DELETE', `/networks/${name}`)))
    }
  }
  const p50 = (values: Record<string, number[]>) => ({ ours: median(values['ours'] ?? []), rival: median(values['rival'] ?? []) })
  return [
    figure({ id: 'docker-network-create', what: 'docker network create, kind bridge, p50', unit: 'ms', ...p50(create), rivalName }),
    figure({ id: 'docker-network-rm', what: 'docker network rm, kind bridge, p50', unit: 'ms', ...p50(rm), rivalName }),
  ]
}
