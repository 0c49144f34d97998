/** Where the time of an operation goes: each step of the kernel and each read of sysfs, by name. */
import type { Kernel, Step, Sysfs } from '@heddle/kernel'

/** One operation: all of its time, and of each kind of step how many there were and how long they took. */
export interface Sample {
  readonly ms: number
  readonly steps: Readonly<Record<string, readonly [count: number, ms: number]>>
}

export class Steps {
  #steps: Record<string, [number, number]> = {}

  async sample(operation: () => Promise<unknown>): Promise<Sample> {
    this.#steps = {}
    const startMs = performance.now()
    await operation()
    const ms = performance.now() - startMs
    const steps = this.#steps
    // What comes behind the answer is not part of it.
    this.#steps = {}
    return { ms, steps }
  }

  add(name: string, ms: number): void {
    const [count, sum] = this.#steps[name] ?? [0, 0]
    this.#steps[name] = [count + 1, sum + ms]
  }

  time<T>(name: string, body: () => T): T {
    const startMs = performance.now()
    try {
      return body()
    } finally {
      this.add(name, performance.now() - startMs)
    }
  }

  /** Steps of a program as the netlink thread timed them; reads from their sending to their answer. */
  kernel(kernel: Kernel): Kernel {
    return {
      ...kernel,
      run: async (steps, call) => {
        const outcomes = await kernel.run(steps, call)
        for (const [index, { startMs, endMs }] of outcomes.entries()) this.add(nameOf(steps[index] as Step), endMs - startMs)
        return outcomes
      },
      look: (questions, call, after = []) => this.waited([...after.map(nameOf), 'look'].join('; '), kernel.look(questions, call, after)),
      link: (...args) => this.waited('read a link', kernel.link(...args)),
      links: (...args) => this.waited('read all links of a namespace', kernel.links(...args)),
      vfs: (...args) => this.waited('read the VFs of the PF', kernel.vfs(...args)),
      createNamespace: (...args) => this.waited('make a namespace', kernel.createNamespace(...args)),
      deleteNamespace: (...args) => this.waited('delete a namespace', kernel.deleteNamespace(...args)),
    }
  }

  sysfs(sysfs: Sysfs): Sysfs {
    return {
      ...sysfs,
      virtualFunction: (...args) => this.waited('sysfs: the VF', sysfs.virtualFunction(...args)),
      physicalFunction: (pci) => this.waited('sysfs: the PF', sysfs.physicalFunction(pci)),
    }
  }

  async waited<T>(name: string, answer: Promise<T>): Promise<T> {
    const startMs = performance.now()
    try {
      return await answer
    } finally {
      this.add(name, performance.now() - startMs)
    }
  }
}

function nameOf(step: Step): string {
  const { op, ns: _, tolerate: __, ...rest } = step
  if (op === 'sysctl') return `sysctl ${step.path.split('/').at(-1)}`
  if (op === 'link.move') return `move the link${'rename' in rest ? ', rename' : ''}${'mac' in rest ? ', MAC' : ''}${'alias' in rest ? ', alias, up' : ''}`
  if (op !== 'vf.set' && op !== 'link.set') return op
  const set = Object.entries(rest).filter(([name]) => name !== 'name' && name !== 'vf')
  return `${op} ${set.map(([name, value]) => (name === 'up' ? (value === true ? 'up' : 'down') : name)).join(', ')}`
}
