/** One host with the whole of Heddle, and the plugins of containernetworking-plugins beside Heddle's own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  attempt,
  type CniAttachment,
  type CniList,
  cniChain,
  createUnderlay,
  type HeddleProcess,
  LabScope,
  labDirectory,
  run,
  startHeddle,
  startProgram,
} from '@heddle/testkit'

const launcher = resolve(import.meta.dirname, '../../../deploy/cni-launcher/heddle-cni')
const reference = '/usr/lib/cni'

export interface CniStage {
  readonly heddle: HeddleProcess
  readonly hostNetns: string
  readonly dir: string
  /** A new sandbox; answers the path of its namespace. */
  sandbox(): Promise<string>
  chain(list: CniList): ReturnType<typeof cniChain>
  attachment(netns: string, more?: Partial<CniAttachment>): CniAttachment
  /** A command inside a namespace; answers its standard output. */
  inside(netns: string, command: readonly string[]): Promise<string>
  /** The same as JSON. */
  json(netns: string, command: readonly string[]): Promise<any>
  /** A program that runs in the namespace until the end. */
  start(name: string, netns: string, command: readonly string[]): Promise<unknown>
  /** Answers every TCP connection to the port inside the sandbox with the text. */
  serve(netns: string, port: number, text: string): Promise<void>
  /** What a TCP connection from the namespace is answered. */
  ask(netns: string, host: string, port: number): Promise<string>
  /** Everything of containers that a host and the cluster can have, as text. */
  world(): Promise<string>
  close(): Promise<void>
}

export async function setCniStage(config: Readonly<Record<string, unknown>> = {}): Promise<CniStage> {
  const scope = new LabScope()
  const dir = labDirectory(scope)
  const underlay = createUnderlay({ hosts: 1 })
  scope.defer('underlay', () => underlay.remove())
  const hostNetns = underlay.hosts[0]?.path ?? ''
  const heddle = await startHeddle(scope, { host: 'h1', netns: hostNetns, dir, config })
  // As `make install` has it: configurations say `"type": "heddle"`.
  const bin = join(dir, 'bin')
  mkdirSync(bin)
  symlinkSync(launcher, join(bin, 'heddle'))
  const inside = (netns: string, command: readonly string[]) => run(['nsenter', `--net=${netns}`, '--', ...command])
  let sandboxes = 0
  return {
    heddle,
    hostNetns,
    dir,
    async sandbox() {
      const name = `hdcni-${process.pid}-${++sandboxes}`
      scope.defer(name, () => attempt(['ip', 'netns', 'delete', name]))
      await run(['ip', 'netns', 'add', name])
      await run(['ip', '-n', name, 'link', 'set', 'lo', 'up'])
      return `/run/netns/${name}`
    },
    chain: (list) => cniChain(list, { netns: hostNetns, path: [bin, reference], env: { HEDDLE_CNI_SOCKET: heddle.cniSocket } }),
    attachment: (netns, more = {}) => ({ containerId: netns.split('/').at(-1) ?? '', netns, ifname: 'eth0', ...more }),
    inside,
    json: async (netns, command) => JSON.parse(await inside(netns, command)),
    start: (name, netns, command) => startProgram(scope, { name, netns, command, logPath: join(dir, `${name}.log`) }),
    async serve(netns, port, text) {
      const program = `require('node:net').createServer((s)=>s.on('error',()=>{}).end(${JSON.stringify(text)})).listen({host:'::',port:${port}},()=>console.log('ready'))`
      const child = spawn('nsenter', [`--net=${netns}`, '--', 'setpriv', '--pdeathsig', 'KILL', process.execPath, '-e', program], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      scope.defer(`server on ${port}`, () => child.kill('SIGKILL'))
      await said(child)
    },
    ask: (netns, host, port) => {
      const program = `let said='';require('node:net').connect(${port},'${host}').setTimeout(4000,function(){this.destroy()}).on('data',(b)=>said+=b).on('error',(e)=>said=e.code).on('close',()=>console.log(said))`
      return inside(netns, [process.execPath, '-e', program]).then((text) => text.trim())
    },
    async world() {
      const links = await inside(hostNetns, ['ip', '-brief', 'link', 'show', 'type', 'veth'])
      const records = await Promise.all(['endpoint', 'pool'].map((what) => heddle.cli(['--json', what, 'ls'])))
      return [links, ...records].join('\n')
    },
    close: () => scope.close(),
  }
}

function said(child: ChildProcess): Promise<unknown> {
  return new Promise((done) => child.stdout?.once('data', done))
}

/** Resolves when the condition holds; rejects with what was seen last. */
export async function eventually(what: string, condition: () => Promise<string | undefined>, timeoutMs = 30_000): Promise<void> {
  for (const endMs = performance.now() + timeoutMs; ; await delay(200)) {
    const seen = await condition()
    if (seen === undefined) return
    if (performance.now() > endMs) throw new Error(`it never came about: ${what}: ${seen}`)
  }
}
