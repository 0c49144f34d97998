/** What the readers of a network configuration share: bounded values, and a refusal that names the key at fault. */
import { HeddleError, invalid } from '@heddle/core'
import { z } from 'zod'

export const text = z.string().max(1024)
export const texts = z.array(text).max(256)
export const count = z.number().int('use a whole number').min(0, 'use 0 or more').max(0xffff_ffff, 'use a smaller number')
/** What is null is absent: Go's encoders write it. */
export const maybe = <T extends z.ZodType>(schema: T) => schema.nullish().transform((value) => value ?? undefined)
/** An object of these keys alone; whoever writes another is told which there are. */
export const only = <T extends z.core.$ZodLooseShape>(shape: T) =>
  z.strictObject(shape, { error: ({ code }) => (code === 'unrecognized_keys' ? `the keys are: ${Object.keys(shape).join(', ')}` : undefined) })

/** Fails with invalid-argument, or unsupported for a key nobody knows. */
export function checked<T>(parse: () => T, field = ''): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error
    const [issue] = error.issues
    const path = [field, ...(issue?.path ?? [])].filter((part) => part !== '').join('.')
    if (issue?.code === 'unrecognized_keys') {
      throw new HeddleError('unsupported', `${path} has the unknown key ${issue.keys.map((key) => JSON.stringify(key)).join(', ')}`, {
        field: path,
        remedy: `remove it; ${issue.message}`,
      })
    }
    throw invalid(path, `${path}: ${issue?.message ?? 'invalid'}`, 'correct the network configuration')
  }
}
