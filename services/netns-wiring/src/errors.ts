/** What the kernel refused, in Heddle's terms: the operation, the errno, and what an operator can do. */
import { HeddleError } from '@heddle/core'
import type { Kernel, KernelRefusal, Step } from '@heddle/kernel'

/** The refusal an error of the kernel package carries, undefined for any other failure. */
export function refusalOf(error: unknown): KernelRefusal | undefined {
  const { errno, index } = (error ?? {}) as Partial<KernelRefusal>
  return typeof errno === 'string' && typeof index === 'number' ? (error as KernelRefusal) : undefined
}

const remedies: Readonly<Record<string, string>> = {
  EPERM: 'run netns-wiring as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN',
  EACCES: 'run netns-wiring as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN',
  EOPNOTSUPP: 'this kernel lacks the feature: see "heddle doctor"',
  EAFNOSUPPORT: 'this kernel lacks the address family: see "heddle doctor"',
  EADDRINUSE: 'another program uses the VXLAN port: choose another vxlanPort on every host',
  EADDRNOTAVAIL: 'the address is not on this host: check underlay.address',
  ENOMEM: 'the host is out of memory',
  ENOBUFS: 'the host is out of memory',
  ENETUNREACH: 'no connected route reaches the gateway: give the endpoint an address in its prefix',
  EHOSTUNREACH: 'no connected route reaches the gateway: give the endpoint an address in its prefix',
}

/** Maps a failure of `kernel.run(steps)`. `sandbox` is looked at again: a namespace may vanish while it is being wired. */
export function kernelFailure(error: unknown, steps: readonly Step[], kernel: Kernel, sandbox?: string): HeddleError {
  if (sandbox !== undefined && sandbox !== '' && kernel.namespaceInode(sandbox) === undefined) return netnsGone(sandbox)
  const failure = HeddleError.from(error)
  const refusal = refusalOf(error)
  if (refusal === undefined || failure.code !== 'kernel-refused') return failure
  const step = steps[refusal.index]
  const vniTaken = step?.op === 'vxlan.add' && refusal.errno === 'EEXIST'
  const hint = vniTaken
    ? `another VXLAN device of this host uses VNI ${step.vni} on port ${step.port}: remove it, or choose another VNI`
    : remedies[refusal.errno]
  return new HeddleError('kernel-refused', failure.message, {
    remedy: hint ?? failure.remedy,
    details: { ...failure.details, operation: step?.op ?? '' },
    cause: error,
  })
}

export function netnsGone(path: string): HeddleError {
  return new HeddleError('netns-gone', `${path} is no network namespace`, {
    field: 'endpoint.sandbox',
    remedy: 'the container has probably ended: start it again',
    details: { path },
  })
}

export function interfaceExists(name: string, path: string): HeddleError {
  return new HeddleError('interface-exists', `interface ${name} exists already in ${path}`, {
    field: 'endpoint.interface_name',
    remedy: 'choose another interface name, or remove the interface that is there',
    details: { interface: name },
  })
}

export function networkInUse(networkId: string, host: string): HeddleError {
  return new HeddleError('network-in-use', `network ${networkId} has endpoints on host ${host}`, {
    remedy: 'remove its containers, or detach them, first',
  })
}
