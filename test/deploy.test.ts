/** Proves that what deploy/ tells others to run is accepted by those who run it: systemd, nats-server, etcd, Heddle, Compose. */
import { chmodSync, cpSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import test from 'ava'
import { execa } from 'execa'
import { parse } from 'yaml'
import { root } from './sources.ts'

const heddle = [join(root, 'services/heddle/src/cli/main.ts')]
const environment = {
  HEDDLE_NATS_BRAINS_PASSWORD: 'a',
  HEDDLE_NATS_HOST_PASSWORD: 'b',
  HEDDLE_NATS_HUBS: '["nats-leaf://host:b@10.0.0.1:7422", "nats-leaf://host:b@10.0.0.2:7422"]',
}

function files(pattern: string): string[] {
  return globSync(pattern, { cwd: join(root, 'deploy') }).sort()
}

function read(file: string): string {
  return readFileSync(join(root, 'deploy', file), 'utf8')
}

async function has(program: string): Promise<boolean> {
  return (await execa('sh', ['-c', `command -v ${program}`], { reject: false })).exitCode === 0
}

test('systemd accepts every unit', async (t) => {
  if (!(await has('systemd-analyze')) || !existsSync('/lib/systemd/system')) {
    t.log('skipped: systemd is not installed here')
    return t.pass()
  }
  const tree = mkdtempSync(join(tmpdir(), 'heddle-units-'))
  t.teardown(() => rmSync(tree, { recursive: true }))
  const units = files('systemd/*.service')
  const programs = units.flatMap((unit) => [...read(unit).matchAll(/^Exec\w+=(\/\S+)/gm)].map((match) => match[1] ?? ''))
  for (const program of new Set(programs)) {
    mkdirSync(dirname(join(tree, program)), { recursive: true })
    writeFileSync(join(tree, program), '#!/bin/sh\n')
    chmodSync(join(tree, program), 0o755)
  }
  // The targets that ours are ordered by; systemd looks for them in the tree too.
  cpSync('/lib/systemd/system', join(tree, 'usr/lib/systemd/system'), { recursive: true, verbatimSymlinks: true })
  mkdirSync(join(tree, 'etc/systemd/system'), { recursive: true })
  for (const unit of units) cpSync(join(root, 'deploy', unit), join(tree, 'etc/systemd/system', basename(unit)))
  t.true(units.length >= 6)
  for (const unit of units) {
    const { exitCode, all = '' } = await execa('systemd-analyze', ['verify', `--root=${tree}`, '--man=no', basename(unit)], { reject: false, all: true })
    const complaints = all.split('\n').filter((line) => line.includes('heddle'))
    t.deepEqual(complaints, [], `${unit} (exit code ${exitCode})`)
  }
})

test('the host agent starts before the container engines, and keeps its mounts visible to them', (t) => {
  for (const file of ['systemd/heddle-host.service', 'systemd/heddle.service']) {
    const unit = read(file)
    t.regex(unit, /^Before=.*\bdocker\.service\b.*\bcontainerd\.service\b/m, file)
    t.notRegex(unit, /^(Private|Protect|ReadOnly|ReadWrite|Inaccessible|Bind|Mount)\w*=/m, `${file}: this directive gives the service mounts of its own`)
  }
})

test('nats-server accepts every server configuration', async (t) => {
  const configurations = files('nats/*.conf').filter((file) => /^listen:/m.test(read(file)))
  t.deepEqual(configurations, ['nats/leaf.conf', 'nats/server.conf'])
  for (const file of configurations) {
    const { all, exitCode } = await execa('nats-server', ['-t', '-c', join(root, 'deploy', file)], { env: environment, all: true, reject: false })
    t.is(exitCode, 0, all)
  }
})

test('etcd knows every key of its configuration and every flag of the Compose files', async (t) => {
  const { all: help } = await execa('etcd', ['--help'], { all: true, reject: false })
  const flags = new Set([...help.matchAll(/^\s+--([a-z0-9-]+)/gm)].map((match) => match[1]))
  t.true(flags.size > 50)
  for (const key of Object.keys(parse(read('etcd/member.yaml')))) t.true(flags.has(key), `etcd has no setting ${key}`)
  for (const file of files('compose/*.yaml')) {
    for (const argument of parseCompose(file).services['etcd']?.command.slice(1) ?? []) {
      t.true(flags.has(/^--([a-z0-9-]+)=/.exec(argument)?.[1]), `${file}: etcd has no flag ${argument}`)
    }
  }
})

test('Heddle accepts the example configuration, also with its comments taken away', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-config-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const everything = join(dir, 'heddle.yaml')
  writeFileSync(everything, read('heddle.yaml').replaceAll(/^(\s*)# (?=\s*[a-zA-Z]+:(?:\s|$))/gm, '$1'))
  for (const file of [join(root, 'deploy/heddle.yaml'), everything]) {
    const { exitCode, stderr } = await execa(process.execPath, [...heddle, 'config', 'print', '--config', file], { env: { HEDDLE_CONFIG: '' }, reject: false })
    t.is(exitCode, 0, stderr)
  }
  t.deepEqual(parse(readFileSync(everything, 'utf8')).etcd.endpoints.length, 3)
})

test('every command of the Compose files and units that starts Heddle has a configuration it accepts', async (t) => {
  const commands: { readonly where: string; readonly args: string[]; readonly env: Record<string, string> }[] = []
  for (const file of files('compose/*.yaml')) {
    for (const [name, service] of Object.entries(parseCompose(file).services)) {
      if (service.command[0] === 'heddle') commands.push({ where: `${file} ${name}`, args: service.command.slice(2), env: service.environment })
    }
  }
  for (const unit of files('systemd/*.service')) {
    const line = /^ExecStart=\/usr\/lib\/heddle\/heddle\.js up (.*)$/m.exec(read(unit))?.[1]
    if (line !== undefined) commands.push({ where: unit, args: line.replace('/etc/heddle/heddle.yaml', join(root, 'deploy/heddle.yaml')).split(' '), env: {} })
  }
  t.is(commands.length, 7)
  for (const { where, args, env } of commands) {
    const { exitCode, stderr } = await execa(process.execPath, [...heddle, 'config', 'print', ...args], { env: { HEDDLE_CONFIG: '', ...env }, reject: false })
    t.is(exitCode, 0, `${where}: ${stderr}`)
  }
})

test('the Compose files are complete: what a service depends on, builds from, waits for and mounts is there', (t) => {
  for (const file of files('compose/*.yaml')) {
    const compose = parseCompose(file)
    const services = Object.keys(compose.services)
    t.deepEqual(services.sort(), ['brains', 'etcd', 'host', 'nats'], file)
    for (const [name, service] of Object.entries(compose.services)) {
      t.true(existsSync(join(root, 'deploy/compose', service.build.context, service.build.dockerfile)), `${file}: ${name} is built from nothing`)
      for (const other of service.dependsOn) t.true(services.includes(other), `${file}: ${name} waits for ${other}`)
      for (const [other, condition] of service.conditions) {
        if (condition === 'service_healthy')
          t.true(compose.services[other]?.healthcheck, `${file}: ${name} waits for the health of ${other}, which has no check`)
      }
      for (const volume of service.namedVolumes) t.true(compose.volumes.includes(volume), `${file}: ${name} mounts ${volume}`)
    }
  }
})

test('the Tiltfile calls tasks that scripts/dev has', (t) => {
  const tasks = /usage: scripts\/dev ([a-z:|-]+)/.exec(readFileSync(join(root, 'scripts/dev'), 'utf8'))?.[1]?.split('|') ?? []
  const called = [...readFileSync(join(root, 'Tiltfile'), 'utf8').matchAll(/scripts\/dev ([\w:-]+)/g)].map((match) => match[1] ?? '')
  t.true(called.length >= 6)
  for (const task of called) t.true(tasks.includes(task), `scripts/dev has no task ${task}`)
})

test('README.md names every file to be put somewhere, those that another includes too, and none that is not there', (t) => {
  const readme = read('README.md')
  const named = [...readme.matchAll(/`((?:systemd|nats|etcd|compose|cni-launcher)\/[\w./-]+|heddle\.yaml)`/g)].map((match) => match[1] ?? '')
  // The plugin is built from the source beside it.
  for (const file of named)
    t.true(
      [file, `${file}.c`].some((path) => existsSync(join(root, 'deploy', path))),
      `${file} is not there`,
    )
  const wanted = [...files('{systemd,nats,etcd}/*'), 'heddle.yaml']
  t.true(wanted.length >= 10)
  for (const file of wanted) t.true(readme.includes(basename(file)), `README.md does not name ${file}`)
  for (const file of files('nats/*.conf')) {
    for (const [, included = ''] of read(file).matchAll(/^include (\S+)/gm)) t.true(named.includes(`nats/${included}`), `${file} includes ${included}`)
  }
})

test('brains and host of one machine can be different users of NATS: each unit reads settings of its own', async (t) => {
  const own = ['heddle', 'heddle-control', 'heddle-host'].map((unit) => /^EnvironmentFile=-(\S+)$/m.exec(read(`systemd/${unit}.service`))?.[1])
  t.is(new Set(own).size, 3)
  for (const file of own) t.true(file !== undefined && read('README.md').includes(file), `README.md does not name ${file}`)
  const { stdout } = await execa(
    process.execPath,
    [...heddle, '--json', 'config', 'print', '--config', join(root, 'deploy/heddle.yaml'), '--services', 'host'],
    {
      env: { HEDDLE_CONFIG: '', HEDDLE_NATS_SERVERS: 'nats://host:secret@10.0.0.1:4222,nats://host:secret@10.0.0.2:4222' },
    },
  )
  t.is(JSON.parse(stdout).nats.servers.length, 2)
  t.false(stdout.includes('secret'))
})

test("no unit runs beside one of Debian's packages on the same port", (t) => {
  for (const [unit, theirs] of [
    ['heddle-nats', 'nats-server'],
    ['heddle-nats-leaf', 'nats-server'],
    ['heddle-etcd', 'etcd'],
  ])
    t.regex(read(`systemd/${unit}.service`), new RegExp(`^Conflicts=(.* )?${theirs}\\.service\\b`, 'm'))
})

test('the image is built from what .dockerignore lets through', (t) => {
  const allowed = readFileSync(join(root, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  t.is(allowed[0], '*')
  const copied = [...read('compose/Dockerfile').matchAll(/^COPY (\S+)/gm)].map((match) => match[1] ?? '')
  t.deepEqual(
    copied.filter((path) => !allowed.includes(`!${path}`)),
    [],
  )
})

interface ComposeService {
  readonly command: readonly string[]
  readonly environment: Record<string, string>
  readonly build: { readonly context: string; readonly dockerfile: string }
  readonly dependsOn: readonly string[]
  readonly conditions: readonly (readonly [string, string])[]
  readonly namedVolumes: readonly string[]
  readonly healthcheck: boolean
}

/** A Compose file with its variables at their defaults; throws when a service has a key of no meaning here. */
function parseCompose(file: string): { readonly services: Record<string, ComposeService>; readonly volumes: readonly string[] } {
  const known = new Set([
    'image',
    'build',
    'restart',
    'command',
    'network_mode',
    'volumes',
    'healthcheck',
    'cap_drop',
    'depends_on',
    'environment',
    'pid',
    'privileged',
  ])
  const tree = parse(read(file).replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1'), { merge: true })
  const services: Record<string, ComposeService> = {}
  for (const [name, raw] of Object.entries<any>(tree.services)) {
    for (const key of Object.keys(raw)) if (!known.has(key)) throw new Error(`${file}: ${name}.${key} is not known to this test`)
    const depends = raw.depends_on ?? []
    services[name] = {
      command: raw.command,
      environment: raw.environment ?? {},
      build: raw.build,
      dependsOn: Array.isArray(depends) ? depends : Object.keys(depends),
      conditions: Array.isArray(depends) ? [] : Object.entries<any>(depends).map(([other, { condition }]) => [other, condition] as const),
      namedVolumes: (raw.volumes ?? []).flatMap((volume: unknown) => (typeof volume === 'string' ? [volume.split(':')[0]] : [])),
      healthcheck: raw.healthcheck !== undefined,
    }
  }
  return { services, volumes: Object.keys(tree.volumes ?? {}) }
}
