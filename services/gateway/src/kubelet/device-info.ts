/**
 * Files that tell a meta-plugin about the devices the kubelet has given out. One for each reservation; its name also says under which resource a VF was given out.
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

  write(resource: string, vf: Vf): void {
    writeDeviceInfo(join(this.#directory, fileName(resource, vf.pci)), deviceInfoOf(vf))
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
