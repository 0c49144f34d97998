/**
 * Files that tell a meta-plugin about the devices the kubelet has given out (Device Information Specification 1.1.0 of the
 * Network Plumbing Working Group). One for each reservation; its name also says under which resource a VF was given out.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Vf } from '@heddle/contract'

const version = '1.1.0'

export class DeviceInfoFiles {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  write(resource: string, vf: Vf): void {
    const { pci } = vf
    const info = {
      type: 'pci',
      version,
      pci: {
        'pci-address': pci,
        'pf-pci-address': vf.pf,
        ...(vf.rdmaDevices.length > 0 && { 'rdma-device': vf.rdmaDevices.join(',') }),
        ...(vf.representor !== '' && { 'representor-device': vf.representor }),
      },
    }
    mkdirSync(this.#directory, { recursive: true, mode: 0o755 })
    const path = join(this.#directory, fileName(resource, pci))
    writeFileSync(`${path}.new`, `${JSON.stringify(info)}\n`, { mode: 0o644 })
    renameSync(`${path}.new`, path)
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
