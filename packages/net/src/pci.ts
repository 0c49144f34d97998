/** PCI addresses (`domain:bus:device.function`, Documentation/PCI of the kernel) and lists of VF indexes. */
import { AddressError } from './errors.ts'

/** A domain has four digits, or more where a bridge makes domains of its own (VMD: 10000). */
const shape = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i

/** Whether it is one, with or without domain, in any case. */
export function isPciAddress(text: string): boolean {
  return shape.test(text)
}

/** `0000:3b:02.1`: lower case, domain 0000 when there was none. Throws AddressError. */
export function canonicalPci(text: string): string {
  const [, domain = '0000', bus, device, fn] = shape.exec(text) ?? []
  if (fn === undefined) throw new AddressError(text, 'is not a PCI address: write it as 0000:3b:02.1')
  return `${domain.replace(/^0+(?=[0-9a-f]{4})/i, '')}:${bus}:${device}.${fn}`.toLowerCase()
}

/** VF indexes of `0-3,7`, ascending and each once. Throws AddressError. */
export function parseIndexes(text: string): number[] {
  const indexes = new Set<number>()
  for (const part of text.split(',')) {
    const [, first = '', last = first] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim()) ?? []
    if (first === '' || Number(first) > Number(last)) throw new AddressError(text, 'is not a list of VF indexes: write it as 0-3,7')
    for (let index = Number(first); index <= Number(last); index++) indexes.add(index)
  }
  return [...indexes].sort((a, b) => a - b)
}
