/** Failures of the netlink thread as errors of the catalogue. */
import { type ErrorCode, HeddleError } from '@heddle/core'
import type { KernelRefusal, Namespace, Operation, Step } from './types.ts'
import type { Failure } from './worker/failures.ts'

/**
 * The kernel refused: `kernel-refused`, or `interface-exists` when a veth end's name is taken (`details.end` is "link"
 * or "peer"), or `netns-gone`. `index` is the step's place in its program.
 */
export class KernelError extends HeddleError implements KernelRefusal {
  readonly index: number
  readonly errno: string
  readonly text: string

  constructor(
    code: ErrorCode,
    message: string,
    refusal: KernelRefusal,
    parts: { readonly field?: string; readonly remedy?: string; readonly details?: Record<string, string> } = {},
  ) {
    super(code, message, { ...parts, details: { errno: refusal.errno, index: String(refusal.index), text: refusal.text, ...parts.details } })
    this.name = 'KernelError'
    this.index = refusal.index
    this.errno = refusal.errno
    this.text = refusal.text
  }
}

/** `what` says what was tried, where it was not a step of a program. */
export function toKernelError(failure: Failure, what: string, steps: readonly Step[] = []): HeddleError {
  switch (failure.kind) {
    case 'refused':
      return refused(failure, what, steps[failure.index])
    case 'netns-gone':
      return new KernelError(
        'netns-gone',
        `network namespace ${failure.path} is gone: ${failure.reason}`,
        { index: failure.index, errno: 'ENOENT', text: failure.reason },
        { field: 'ns', remedy: 'the container has ended, or its runtime removed the namespace; detach it', details: { path: failure.path } },
      )
    case 'invalid':
      return new HeddleError('invalid-argument', `${describe(steps[failure.index], what)}: ${failure.text}`, { field: failure.field })
    case 'unavailable':
      return new HeddleError('unavailable', `${what}: ${failure.text}`, { remedy: 'try again' })
    case 'expired':
      return new HeddleError('deadline-exceeded', `${what} was not begun in time: the netlink thread was busy`)
    case 'internal':
      return new HeddleError('internal', `${what}: ${failure.text}`, { remedy: 'this is a defect in Heddle: please report it' })
  }
}

function refused(failure: Extract<Failure, { kind: 'refused' }>, what: string, step: Step | undefined): KernelError {
  const reason = failure.text === '' || failure.text === failure.errno ? failure.errno : `${failure.errno} (${failure.text})`
  if (step?.op === 'veth.add' && failure.end !== undefined) {
    const end = failure.end === 'peer' ? step.peer : step
    return new KernelError('interface-exists', `interface ${end.name} exists already in ${namespaceText(end.ns)}`, failure, {
      field: 'name',
      remedy: 'choose another interface name, or remove the interface',
      details: { end: failure.end, name: end.name },
    })
  }
  if (step?.op === 'link.move' && failure.errno === 'EEXIST') {
    const name = step.rename ?? step.name
    return new KernelError('interface-exists', `interface ${name} exists already in ${namespaceText(step.to)}`, failure, {
      field: 'name',
      remedy: 'choose another interface name, or remove the interface',
      details: { name },
    })
  }
  const setting = failure.setting === undefined ? {} : { details: { setting: failure.setting } }
  if (step !== undefined && unsupported.has(failure.errno)) {
    if (step.op === 'vf.set' && failure.setting !== undefined) {
      return new KernelError(
        'unsupported',
        `the driver of ${step.name} does not take the setting ${failure.setting} of a virtual function: ${reason}`,
        failure,
        {
          field: failure.setting,
          remedy: `leave ${failure.setting} unset on networks of this card, or use a card or a driver that has it`,
          ...setting,
        },
      )
    }
    const module = modules[step.op]
    if (module !== undefined && lacksKind(failure)) {
      return new KernelError('unsupported', `this kernel makes no ${module.makes}: ${reason}`, failure, {
        field: module.field,
        remedy: `load the kernel module ${module.name} (${module.option}), and see that it is loaded at boot`,
        details: { module: module.name },
      })
    }
  }
  return new KernelError('kernel-refused', `the kernel refused ${describe(step, what)}: ${reason}`, failure, { ...remedy(failure.errno), ...setting })
}

/** What a kernel or a driver answers that does not know what it is asked for. */
const unsupported: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'ENOTSUPP', 'EPROTONOSUPPORT'])

/** Of the kinds of links that stand on another; a kernel may be without each. */
const modules: Readonly<Partial<Record<Operation['op'], { readonly name: string; readonly option: string; readonly makes: string; readonly field: string }>>> =
  {
    'macvlan.add': { name: 'macvlan', option: 'CONFIG_MACVLAN', makes: 'macvlan interfaces', field: 'kind' },
    'ipvlan.add': { name: 'ipvlan', option: 'CONFIG_IPVLAN', makes: 'ipvlan interfaces', field: 'kind' },
    'vlan.add': { name: '8021q', option: 'CONFIG_VLAN_8021Q', makes: 'VLAN interfaces', field: 'vlan' },
  }

/** rtnl_newlink (net/core/rtnetlink.c) where no module has the kind; any other text is the kind's own. */
function lacksKind({ text }: { readonly text: string }): boolean {
  return text === '' || text === 'Unknown device type'
}

function remedy(errno: string): { remedy?: string } {
  if (errno === 'EPERM' || errno === 'EACCES') return { remedy: 'run netns-wiring with CAP_NET_ADMIN and CAP_SYS_ADMIN' }
  if (errno === 'EOPNOTSUPP' || errno === 'ENOTSUPP') return { remedy: 'see `heddle doctor` for what this kernel lacks' }
  return {}
}

function describe(step: Operation | undefined, what: string): string {
  return step === undefined ? what : `${step.op}${'name' in step ? ` ${step.name}` : ''} in ${namespaceText(step.ns)}`
}

export function namespaceText(ns: Namespace): string {
  return ns === 'own' ? "the host's namespace" : ns.path
}
