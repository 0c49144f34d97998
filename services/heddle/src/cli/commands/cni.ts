/** `heddle cni install`: what a CNI runtime needs on this host. */
import type { Command } from 'commander'

interface InstallFlags {
  readonly launcher?: string
  readonly binDir: string
  readonly confDir: string
  readonly network?: string
}

export function addCni(root: Command): void {
  const cni = root.command('cni').description('make Heddle known to CNI runtimes')
  cni
    .command('install')
    .description('copy the plugin to where CNI runtimes look, and write a network configuration')
    .option('--bin-dir <dir>', 'directory of CNI plugins', '/opt/cni/bin')
    .option('--conf-dir <dir>', 'directory of CNI network configurations', '/etc/cni/net.d')
    .option('--network <name>', 'write a configuration for this network; without it only the plugin is copied')
    .option('--launcher <file>', 'the built plugin; default: the one beside this program')
    .addHelpText('after', '\nExamples:\n  heddle cni install --network blue && ctr run --cni --rm docker.io/library/busybox:latest web httpd -f')
    .action(async (flags: InstallFlags, command: Command) => {
      const [{ installCni }, { print }] = await Promise.all([import('../cni-install.ts'), import('../output.ts')])
      const written = installCni(flags, String(command.optsWithGlobals()['socket']))
      print(command.optsWithGlobals()['json'] === true, written, () => written.map((path) => `${path}\n`).join(''))
    })
}
