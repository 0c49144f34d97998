/** What meta-plugins are told of a device: Device Information Specification 1.1.0 of the Network Plumbing Working Group. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Vf } from '@heddle/contract'

const version = '1.1.0'

export interface DeviceInfo {
  readonly type: 'pci'
  readonly version: string
  readonly pci: Readonly<Record<string, string>>
}

export function deviceInfoOf(vf: Vf): DeviceInfo {
  return {
    type: 'pci',
    version,
    pci: {
      'pci-address': vf.pci,
      'pf-pci-address': vf.pf,
      ...(vf.rdmaDevices.length > 0 && { 'rdma-device': vf.rdmaDevices.join(',') }),
      ...(vf.representor !== '' && { 'representor-device': vf.representor }),
    },
  }
}

/** Whole or not at all; the directory is made. */
export function writeDeviceInfo(path: string, info: DeviceInfo): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  writeFileSync(`${path}.new`, `${JSON.stringify(info)}\n`, { mode: 0o644 })
  renameSync(`${path}.new`, path)
}
