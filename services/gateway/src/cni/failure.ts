/** Errors in CNI's terms (CNI spec 1.1.0, section "Error"): code from core's catalogue, message with its remedy. */
import { HeddleError } from '@heddle/core'

export interface CniAnswer {
  readonly exitCode: number
  readonly stdout: string
}

/** STATUS: cannot serve ADD. */
export const notReady = 50
/** STATUS: cannot serve ADD, and containers there are may have limited connectivity. */
export const degraded = 51

export function failureAnswer(error: unknown, cniVersion: string, code?: number): CniAnswer {
  const failure = HeddleError.from(error)
  const details = Object.entries({ code: failure.code, ...(failure.field === undefined ? {} : { field: failure.field }), ...failure.details })
  return {
    exitCode: 1,
    stdout: JSON.stringify({
      cniVersion,
      code: code ?? failure.kind.cni,
      msg: harmless(failure.sentence),
      details: harmless(details.map(([key, value]) => `${key}: ${value}`).join(', ')),
    }),
  }
}

export function networkUnknown(name: string): HeddleError {
  return new HeddleError('network-unknown', `there is no network named ${name}`, {
    field: 'name',
    remedy: `create it with \`heddle network create ${name}\`, or define it in the configuration with "heddle": {"subnets": [...]}`,
  })
}

/** containerd takes an error that says one of these for "already gone" and forgets the container: no failure of ours may. */
function harmless(text: string): string {
  return text.replaceAll(/not found/gi, 'unknown').replaceAll(/no such file( or directory)?/gi, 'missing path')
}
