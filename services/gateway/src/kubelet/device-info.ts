/**
 * Files that tell a meta-plugin about the devices the kubelet has given out: one for each reservation. Its name also says under
 * which resource a VF was given out.
 */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Vf } from '@heddle/contract'
import { deviceInfoOf, writeDeviceInfo } from '../flows/device-info.ts'

export class DeviceInfoFiles {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** The VF's only file: one that another plugin left before would say that the VF is elsewhere. */
  write(resource: string, vf: Vf): void {
    const own = fileName(resource, vf.pci)
    writeDeviceInfo(join(this.#directory, own), deviceInfoOf(vf))
    for (const name of this.#of(vf.pci)) if (name !== own) rmSync(join(this.#directory, name), { force: true })
  }

  /** Removes the VF's file of this resource, or of whichever. */
  remove(pci: string, resource?: string): void {
    for (const name of resource === undefined ? this.#of(pci) : [fileName(resource, pci)]) rmSync(join(this.#directory, name), { force: true })
  }

  /** Whether the VF was given out under another resource than this. */
  isElsewhere(pci: string, resource: string): boolean {
    return this.#of(pci).some((name) => name !== fileName(resource, pci))
  }

  #of(pci: string): string[] {
    try {
      return readdirSync(this.#directory).filter((name) => name.endsWith(`-${pci}-device.json`))
    } catch {
      return []
    }
  }
}

const fileName = (resource: string, pci: string) => `${resource.replaceAll('/', '-')}-${pci}-device.json`
