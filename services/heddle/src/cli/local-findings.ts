/** What can be seen without the gateway, so that `heddle doctor` helps most when nothing answers. */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { release } from 'node:os'
import type { Finding } from '@heddle/contract'

export function localFindings(socket: string): Finding[] {
  return [rootFinding(), kernelFinding(), socketFinding(socket), launcherFinding('/opt/cni/bin/heddle')]
}

function rootFinding(): Finding {
  const root = process.getuid?.() === 0
  return finding(root ? 'ok' : 'warning', 'user', root ? 'root' : 'not root', root ? '' : 'run as root: the sockets of Heddle are root’s')
}

function kernelFinding(): Finding {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const recent = major > 6 || (major === 6 && minor >= 1)
  return finding(
    recent ? 'ok' : 'warning',
    'kernel',
    `Linux ${release()}`,
    recent ? '' : 'Heddle is tested with Linux 6.1 (Debian 12); what an older kernel lacks is among the findings on kernel features',
  )
}

function socketFinding(path: string): Finding {
  if (!existsSync(path)) return finding('error', 'gateway socket', `${path} does not exist`, 'start Heddle (`heddle up`), or name its socket with --socket')
  if (!statSync(path).isSocket()) return finding('error', 'gateway socket', `${path} is no socket`, 'remove the file and start Heddle again')
  try {
    accessSync(path, constants.W_OK)
    return finding('ok', 'gateway socket', path)
  } catch {
    return finding('error', 'gateway socket', `${path} may not be used by this user`, 'run as root')
  }
}

function launcherFinding(path: string): Finding {
  return existsSync(path)
    ? finding('ok', 'CNI plugin', path)
    : finding('warning', 'CNI plugin', `${path} is not there: containerd, CRI-O and Podman cannot use Heddle`, 'run `heddle cni install`')
}

function finding(level: 'ok' | 'warning' | 'error', subject: string, message: string, remedy = ''): Finding {
  return { level, subject, message, remedy }
}
