/** Reads a flag that is a whole number; anything else is a mistake on the command line (exit code 2). */
import { InvalidArgumentError } from 'commander'

export function wholeNumber(what: string, least = 1): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || !Number.isSafeInteger(value)) throw new InvalidArgumentError(`It takes ${what}, at least ${least}.`)
    return value
  }
}
