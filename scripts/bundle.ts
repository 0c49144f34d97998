/**
 * Makes dist/: the `heddle` command as a few files that need nothing but Node. Smaller in memory and quicker to start than
 * the sources. What is read at run time goes along: .proto files, the descriptor set, koffi's native part, the CNI plugin.
 * `node scripts/bundle.ts [FOLDER [NAME=SOURCE ...]]`: another folder than dist/, and further programs beside the command.
 */
import { chmodSync, copyFileSync, cpSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { build, type Plugin } from 'esbuild'

const repository = resolve(import.meta.dirname, '..')
const [folder = 'dist', ...programs] = process.argv.slice(2)
const destination = resolve(repository, folder)
/** Made beside the old one, which stays until the new one is whole. */
const dist = `${destination}.new`
const packagesWithFiles = new Set<string>()

/** CommonJS packages find their .proto files from `__dirname`: each keeps its own below dist/vendor. */
const keepDirname: Plugin = {
  name: 'keep-dirname',
  setup(plugin) {
    plugin.onLoad({ filter: /node_modules\/.*\.c?js$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8')
      if (!source.includes('__dirname')) return undefined
      const root = packageRoot(path)
      packagesWithFiles.add(root)
      const dir = JSON.stringify(`/vendor/${nameOf(root)}/${relative(root, dirname(path))}`)
      return { contents: source.replaceAll('__dirname', `(__bundleDir + ${dir})`), loader: 'js' }
    })
  },
}

rmSync(dist, { recursive: true, force: true })
const result = await build({
  absWorkingDir: repository,
  entryPoints: {
    heddle: 'services/heddle/src/cli/main.ts',
    'netlink-worker': 'packages/kernel/src/worker/netlink-worker.ts',
    ...Object.fromEntries(programs.map((program) => program.split('=') as [string, string])),
  },
  outdir: dist,
  bundle: true,
  // Chunks keep what is imported late out of memory until it is used.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  external: ['koffi'],
  // Bundled CommonJS still asks for Node's own modules with require().
  banner: { js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url),__bundleDir=import.meta.dirname;" },
  plugins: [keepDirname],
  metafile: true,
  logLevel: 'warning',
})

for (const root of packagesWithFiles) {
  for (const file of globSync('**/*.proto', { cwd: root, exclude: ['**/node_modules/**', '**/test/**'] })) {
    copy(join(root, file), join(dist, 'vendor', nameOf(root), file))
  }
}
copy(join(repository, 'packages/contract/src/gen/heddle.binpb'), join(dist, 'gen/heddle.binpb'))
copyKoffi()
const launcher = join(repository, 'deploy/cni-launcher/heddle-cni')
if (existsSync(launcher)) copy(launcher, join(dist, 'heddle-cni'))
copy(join(repository, 'LICENSE'), join(dist, 'LICENSE'))
writeFileSync(
  join(dist, 'package.json'),
  `${JSON.stringify({ name: 'heddle', version: versionOf(join(repository, 'package.json')), type: 'module', license: 'Apache-2.0' })}\n`,
)
chmodSync(join(dist, 'heddle.js'), 0o755)
rmSync(destination, { recursive: true, force: true })
renameSync(dist, destination)
const bytes = Object.values(result.metafile.outputs).reduce((sum, output) => sum + output.bytes, 0)
process.stdout.write(`${folder}/heddle.js: ${Object.keys(result.metafile.outputs).length} files, ${(bytes / 2 ** 20).toFixed(1)} MiB\n`)

function copyKoffi(): void {
  const koffi = packageRoot(createRequire(join(repository, 'packages/kernel/package.json')).resolve('koffi'))
  const target = join(dist, 'node_modules/koffi')
  cpSync(koffi, target, {
    recursive: true,
    dereference: true,
    filter: (path) => !/\/(vendor|doc|node_modules)$|\.(cc|hh|c|h|cpp|S|asm)$/.test(path.slice(koffi.length)),
  })
  const native = `@koromix/koffi-linux-${process.arch}`
  const root = packageRoot(createRequire(join(koffi, 'package.json')).resolve(`${native}/package.json`))
  cpSync(root, join(dist, 'node_modules', native), { recursive: true, dereference: true })
}

function packageRoot(path: string): string {
  let dir = dirname(path)
  // Some packages carry a nameless package.json in a folder to set its module type.
  while (!existsSync(join(dir, 'package.json')) || nameOf(dir) === undefined) dir = dirname(dir)
  return dir
}

function nameOf(root: string): string {
  return (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { name: string }).name
}

function versionOf(file: string): string {
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(from, to)
}
