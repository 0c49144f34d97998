/**
 * Addresses of NATS servers as people write them: `nats://user:password@host:port`, `nats://token@host:port`. The library takes
 * them and ignores what stands before the `@` (2.29), so it is read here; and it is never shown.
 */
import { invalid } from '@heddle/core'

export type UrlCredentials = { readonly user: string; readonly password: string } | { readonly token: string }

const address = /^([a-z][a-z0-9+.-]*:\/\/)?(?:(.*)@)?([^@]*)$/is

/** For logs and people: a password or token as `***`. */
export function redactServer(url: string): string {
  const { scheme, account, host } = partsOf(url)
  if (account === undefined) return url
  const colon = account.indexOf(':')
  return `${scheme}${colon === -1 ? '***' : `${account.slice(0, colon)}:***`}@${host}`
}

/** What the library can use. All servers are of one cluster: those that name an account must name the same one. */
export function splitServers(urls: readonly string[]): { readonly servers: readonly string[]; readonly credentials: UrlCredentials | undefined } {
  const parts = urls.map(partsOf)
  const accounts = new Set(parts.flatMap(({ account }) => account ?? []))
  if (accounts.size > 1) throw invalid('nats.servers', 'the addresses of NATS name different accounts', 'give all servers the same user and password')
  const [account] = accounts
  return { servers: parts.map(({ scheme, host }) => scheme + host), credentials: account === undefined ? undefined : credentialsIn(account) }
}

function credentialsIn(account: string): UrlCredentials {
  const colon = account.indexOf(':')
  return colon === -1 ? { token: plain(account) } : { user: plain(account.slice(0, colon)), password: plain(account.slice(colon + 1)) }
}

function partsOf(url: string) {
  const [, scheme = '', account, host = url] = address.exec(url) ?? []
  return { scheme, account, host }
}

/** Percent-encoding undone; what is none is meant as it stands. */
function plain(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
