/**
 * dockerd sets the FORWARD policy of its namespace to DROP (iptables). An accept in Heddle's own nftables chain does not
 * overrule that: each base chain judges for itself. DOCKER-USER is the chain Docker keeps for the administrator's rules;
 * one rule per direction there, for every bridge of Heddle by name prefix, lets them pass. Written with `iptables`, since
 * only it knows which backend the host's rules live in.
 */
import { execFile } from 'node:child_process'
import { type Call, KeyedQueue } from '@heddle/core'
import type { Namespace } from '@heddle/kernel'

export interface ForwardFinding {
  readonly ok: boolean
  readonly message: string
  readonly remedy: string
}

export interface ForwardPolicy {
  /** Lets traffic of Heddle's bridges through the host's iptables where it can. Cheap after the first time. */
  ensure(call: Call): Promise<void>
  /** Looks again, adds rules that are gone, and says how it stands. */
  verify(call: Call): Promise<readonly ForwardFinding[]>
}

export class IptablesForwardPolicy implements ForwardPolicy {
  readonly #ns: Namespace
  readonly #queue = new KeyedQueue()
  #done = false

  constructor(ns: Namespace) {
    this.#ns = ns
  }

  ensure(call: Call): Promise<void> {
    if (this.#done) return Promise.resolve()
    return this.verify(call).then(() => {})
  }

  verify(call: Call): Promise<readonly ForwardFinding[]> {
    return this.#queue.run('', async () => {
      const findings = [await this.#look('iptables', call), await this.#look('ip6tables', call)]
      this.#done = true
      return findings
    })
  }

  async #look(tool: 'iptables' | 'ip6tables', call: Call): Promise<ForwardFinding> {
    const forward = await this.#run(tool, ['-S', 'FORWARD'], call)
    if (forward === undefined) return { ok: true, message: `${tool}: not in use`, remedy: '' }
    if (!/^-P FORWARD DROP$/m.test(forward)) return { ok: true, message: `${tool}: FORWARD policy lets traffic through`, remedy: '' }
    if ((await this.#run(tool, ['-S', 'DOCKER-USER'], call)) === undefined) {
      const remedy = `let it pass: ${tool} -I FORWARD -i hb+ -j ACCEPT; ${tool} -I FORWARD -o hb+ -j ACCEPT`
      return { ok: false, message: `${tool}: FORWARD policy is DROP and there is no chain DOCKER-USER: traffic of bridge networks is dropped`, remedy }
    }
    for (const direction of ['-i', '-o']) {
      const rule = ['DOCKER-USER', direction, 'hb+', '-j', 'ACCEPT']
      if ((await this.#run(tool, ['-C', ...rule], call)) !== undefined) continue
      if ((await this.#run(tool, ['-I', ...rule], call)) === undefined) {
        return { ok: false, message: `${tool}: could not add "${rule.join(' ')}"`, remedy: `add it by hand: ${tool} -I ${rule.join(' ')}` }
      }
    }
    return { ok: true, message: `${tool}: DOCKER-USER lets Heddle's bridges through`, remedy: '' }
  }

  /** Standard output; undefined when the command failed or is not installed. */
  #run(tool: string, args: readonly string[], call: Call): Promise<string | undefined> {
    const command = this.#ns === 'own' ? [tool, '-w', '2', ...args] : ['nsenter', `--net=${this.#ns.path}`, tool, '-w', '2', ...args]
    return new Promise((resolve) => {
      execFile(command[0] ?? tool, command.slice(1), { signal: call.signal }, (error, stdout) => resolve(error === null ? stdout : undefined))
    })
  }
}
