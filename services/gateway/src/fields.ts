/** Addresses, prefixes and MACs given by people: canonical text, or invalid-argument with the field at fault. */
import { type ErrorCode, HeddleError } from '@heddle/core'
import {
  AddressError,
  canonicalIp,
  canonicalMac,
  formatIp,
  formatPrefix,
  isInterfaceMac,
  parseAddressPrefix,
  parseIndexes,
  parseIp,
  parseMac,
  parsePrefix,
} from '@heddle/net'

export function ipField(text: string, field: string): string {
  return checked(field, () => canonicalIp(text))
}

/** `10.1.0.0/16`; host bits must be zero. */
export function prefixField(text: string, field: string): string {
  return checked(field, () => formatPrefix(parsePrefix(text)))
}

/** The bare address of `address` or `address/length`. */
export function hostIpField(text: string, field: string): string {
  return checked(field, () => formatIp(text.includes('/') ? parseAddressPrefix(text).ip : parseIp(text)))
}

/** `10.1.0.5/16`: the address and the prefix it is in. */
export function addressPrefixField(text: string, field: string): { readonly address: string; readonly prefix: string } {
  return checked(field, () => {
    const { ip, prefix } = parseAddressPrefix(text)
    return { address: formatIp(ip), prefix: formatPrefix(prefix) }
  })
}

/** A unicast MAC. */
export function macField(text: string, field: string): string {
  return checked(field, () => {
    if (!isInterfaceMac(parseMac(text))) throw new AddressError(text, 'is no unicast address: clear the lowest bit of its first octet')
    return canonicalMac(text)
  })
}

/** VF indexes, `0-3,7`. */
export function indexesField(text: string, field: string): number[] {
  return checked(field, () => parseIndexes(text))
}

/** What a check throws, as another code: a door names the place the value came from in its own protocol's terms. */
export function recoded<T>(code: ErrorCode, place: string, check: () => T): T {
  try {
    return check()
  } catch (error) {
    const failure = HeddleError.from(error)
    throw new HeddleError(code, `${place}: ${failure.message}`, { field: place, remedy: failure.remedy, cause: error })
  }
}

/** What a check throws, with its field as the user spells it: `names` by field; an entry of a list keeps its index. */
export function named<T>(check: () => T, names: Readonly<Record<string, string>>): T {
  try {
    return check()
  } catch (error) {
    const failure = HeddleError.from(error)
    const field = failure.field ?? ''
    const [base = '', index = ''] = Object.hasOwn(names, field) ? [field] : [field.replace(/\[\d+\]$/, ''), /\[\d+\]$/.exec(field)?.[0]]
    const name = `${names[base] ?? base}${index}`
    throw new HeddleError(failure.code, `${name}: ${failure.message}`, { field: name, remedy: failure.remedy, cause: error })
  }
}

/** What the hands say of a setting that a card does not take, by the name the user gave it: `names` by field of VfSettings. */
export async function inOwnWords<T>(outcome: Promise<T>, names: Readonly<Record<string, string>>): Promise<T> {
  try {
    return await outcome
  } catch (error) {
    const failure = HeddleError.from(error)
    const { setting = '' } = failure.details
    const name = names[setting] ?? setting
    if (setting === '' || failure.field?.endsWith(`.${setting}`) !== true) throw error
    const say = (text: string) => text.replaceAll(new RegExp(`\\b${setting}\\b`, 'g'), name)
    const remedy = failure.remedy === undefined ? undefined : say(failure.remedy)
    throw new HeddleError(failure.code, say(failure.message), { field: name, remedy, details: { ...failure.details, setting: name }, cause: error })
  }
}

function checked<T>(field: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof AddressError)) throw error
    throw new HeddleError('invalid-argument', `${field} ${error.message}`, { field, remedy: `correct ${field}`, cause: error })
  }
}
