/** Puts the CNI plugin and a network configuration list in place (CNI spec 1.1.0, section 1), each by rename. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { checkNetworkName, HeddleError } from '@heddle/core'

export interface CniInstallation {
  readonly launcher?: string
  readonly binDir: string
  readonly confDir: string
  readonly network?: string
}

/** Built into the plugin; another one is written beside it. */
const defaultCniSocket = '/run/heddle/cni.sock'

/** Answers the paths written. `gatewaySocket` tells where the gateway's sockets are: cni.sock is beside it. */
export function installCni(options: CniInstallation, gatewaySocket: string): string[] {
  const launcher = options.launcher ?? findLauncher()
  const plugin = join(options.binDir, 'heddle')
  const written = [replace(plugin, (path) => copyFileSync(launcher, path), 0o755)]
  const socket = join(dirname(gatewaySocket), 'cni.sock')
  // One of an earlier installation would still win over what is built in.
  if (socket === defaultCniSocket) rmSync(`${plugin}.conf`, { force: true })
  else written.push(replace(`${plugin}.conf`, (path) => writeFileSync(path, `${socket}\n`), 0o644))
  if (options.network !== undefined) {
    const network = checkNetworkName(options.network, '--network')
    const conflist = { cniVersion: '1.0.0', name: network, plugins: [{ type: 'heddle', capabilities: { portMappings: true } }] }
    const path = join(options.confDir, `10-heddle-${network}.conflist`)
    written.push(replace(path, (temporary) => writeFileSync(temporary, `${JSON.stringify(conflist, null, 2)}\n`), 0o644))
  }
  return written
}

function replace(path: string, write: (temporary: string) => void, mode: number): string {
  mkdirSync(dirname(path), { recursive: true })
  const temporary = `${path}.new`
  write(temporary)
  chmodSync(temporary, mode)
  renameSync(temporary, path)
  return path
}

/** Beside the bundle of a release, or in the source tree. */
function findLauncher(): string {
  const candidates = ['heddle-cni', '../../../../deploy/cni-launcher/heddle-cni'].map((path) => new URL(path, import.meta.url).pathname)
  const found = candidates.find(existsSync)
  if (found === undefined)
    throw new HeddleError('invalid-argument', 'the CNI plugin is not built', {
      field: '--launcher',
      remedy: 'run `make -C deploy/cni-launcher`, or name the file with --launcher',
    })
  return found
}
