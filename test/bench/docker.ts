/** What Docker's users do, on two hosts with a dockerd each that is in a swarm for its own overlay: Heddle against Docker's drivers. */
import { withLab } from '@heddle/testkit'
import { connectFigures, connectIds } from './docker-connect.ts'
import { networkFigures, networkIds } from './docker-networks.ts'
import { runFigures, runIds } from './docker-run.ts'
import type { Suite } from './figures.ts'
import { startTwoHosts } from './two-hosts.ts'

export const dockerSuite: Suite = {
  ids: [...connectIds, ...runIds, ...networkIds],
  run: (progress) =>
    withLab(async (lab) => {
      const two = await startTwoHosts(lab)
      const connected = await connectFigures(two, progress)
      const ran = await runFigures(two, progress)
      return [...connected, ...ran, ...(await networkFigures(two, progress))]
    }),
}
