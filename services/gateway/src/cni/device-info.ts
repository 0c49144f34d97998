/**
 * The file of the capability `CNIDeviceInfoFile`: the meta-plugin names it, and publishes what the plugin writes there. A
 * network configuration can be anybody's who may define networks, so only files of the meta-plugins' own directory are written.
 */
import { readFileSync, rmSync } from 'node:fs'
import { basename, dirname, normalize } from 'node:path'
import type { Vf } from '@heddle/contract'
import { HeddleError, invalid } from '@heddle/core'
import { deviceInfoOf, writeDeviceInfo } from '../flows/device-info.ts'
import type { CniConfig } from './config.ts'

const field = 'runtimeConfig.CNIDeviceInfoFile'

/** Undefined when none is wanted. Fails with invalid-argument for a file that is not of the directory. */
export function deviceInfoFile({ json }: CniConfig, directory: string): string | undefined {
  const path = (json['runtimeConfig'] as { CNIDeviceInfoFile?: unknown } | null | undefined)?.CNIDeviceInfoFile
  if (path === undefined || path === null || path === '') return undefined
  if (typeof path !== 'string' || path.includes('\0') || place(dirname(normalize(path))) !== place(directory) || basename(path).startsWith('.')) {
    throw invalid(field, `${field}: ${JSON.stringify(path).slice(0, 200)} is not a file of ${directory}`, `give a file directly below ${directory}`)
  }
  return normalize(path)
}

/** What the device plugin told of the same device stays. */
export function tellDeviceInfo(path: string, vf: Vf): void {
  const info = deviceInfoOf(vf)
  try {
    writeDeviceInfo(path, { ...info, pci: { ...told(path, vf.pci), ...info.pci } })
  } catch (error) {
    throw new HeddleError('unavailable', `${field}: ${path} cannot be written: ${(error as Error).message}`, {
      field,
      remedy: `see that ${dirname(path)} can be written`,
      cause: error,
    })
  }
}

/** Never fails: a container goes away whatever its configuration says. */
export function forgetDeviceInfo(config: CniConfig, directory: string): void {
  try {
    const path = deviceInfoFile(config, directory)
    if (path !== undefined) rmSync(path, { force: true })
  } catch {
    // Nothing of ours is there.
  }
}

/** /var/run is /run on every system that has the latter. */
function place(directory: string): string {
  return directory.replace(/^\/var\/run\//, '/run/').replace(/\/$/, '')
}

function told(path: string, pci: string): Readonly<Record<string, string>> {
  try {
    const before = JSON.parse(readFileSync(path, 'utf8')) as { type?: unknown; pci?: Record<string, string> }
    return before.type === 'pci' && before.pci?.['pci-address'] === pci ? before.pci : {}
  } catch {
    return {}
  }
}
