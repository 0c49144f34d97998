/** What every process can be told. A service's own section is added under its name with `baseConfig.extend({...})`. */
import { hostname } from 'node:os'
import { z } from 'zod'

const file = z.string().min(1).optional()

export const baseConfig = z.object({
  /** Name of this host in the cluster; one token of a subject. */
  host: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/, 'use 1 to 63 letters, digits, "_" or "-", beginning with a letter or digit')
    .default(() => hostToken(hostname())),
  /** Sockets and namespaces live here. */
  runDir: z.string().startsWith('/', 'use an absolute path').default('/run/heddle'),
  nats: z
    .object({
      /** Empty: an embedded server. */
      servers: z.array(z.string().min(1)).default([]),
      credsFile: file,
      caFile: file,
      certFile: file,
      keyFile: file,
    })
    .prefault({}),
  etcd: z
    .object({
      /** Empty: an embedded member. */
      endpoints: z.array(z.string().min(1)).default([]),
    })
    .prefault({}),
  log: z
    .object({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
      pretty: z.boolean().default(false),
    })
    .prefault({}),
  otlp: z
    .object({
      /** `http://collector:4318`; absent: spans are kept by the gateways only. */
      endpoint: z.url().optional(),
    })
    .prefault({}),
})

export type BaseConfig = z.infer<typeof baseConfig>

/** `web1.example.org` -> `web1`: a host name as one token. */
export function hostToken(name: string): string {
  const token = (name.split('.')[0] ?? '').replace(/[^A-Za-z0-9_-]/g, '-').slice(0, 63)
  return /^[A-Za-z0-9]/.test(token) ? token : `host${token}`
}
