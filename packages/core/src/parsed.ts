/** What a parser of @heddle/net refuses, as an error that names the field. */
import { AddressError } from '@heddle/net'
import { invalid } from './errors.ts'

export function parsed<T>(field: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof AddressError) throw invalid(field, error.message, 'correct it and try again')
    throw error
  }
}
