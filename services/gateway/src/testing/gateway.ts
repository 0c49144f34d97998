/** A whole gateway on sockets of its own in a temporary directory, in front of a FakeCluster. */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createRuntime } from '@heddle/runtime'
import { pluginClient } from '@heddle/testkit'
import { encodeAnswer, encodeRequest, noPlugin, OutcomeReader, runPlugin } from '../cni/frame.ts'
import { gatewayConfig } from '../config.ts'
import { gatewayService } from '../main.ts'
import { FakeCluster, testHost } from './fake-cluster.ts'

export interface CniReply {
  readonly exitCode: number
  readonly stdout: string
  /** Parsed; undefined when empty. */
  readonly json: any
}

export type CniEnv = Readonly<Record<string, string>>

export async function startGateway(config: Readonly<Record<string, unknown>> = {}, shared?: FakeCluster) {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-gateway-'))
  const cluster = shared ?? (await new FakeCluster().start())
  const runtime = createRuntime({ name: 'gateway', host: testHost, version: 'test', log: { level: 'silent', pretty: false } })
  const places = { runDir: join(dir, 'run'), dockerPluginDir: join(dir, 'plugins'), docker: { socket: '' } }
  gatewayService.build(runtime, { bus: cluster.bus }, gatewayConfig.parse({ ...places, releaseTimeoutMs: 200, ...config }))
  await runtime.start()
  const sockets = {
    api: join(dir, 'run/heddle.sock'),
    cni: join(dir, 'run/cni.sock'),
    docker: join(dir, 'plugins/heddle.sock'),
    sriov: join(dir, 'plugins/sriov.sock'),
  }
  const docker = pluginClient(sockets.docker)
  const sriov = pluginClient(sockets.sriov)
  return {
    cluster,
    runtime,
    sockets,
    docker,
    /** The driver under its other name. */
    sriov,
    cni: (env: CniEnv, config: unknown) => callCni(sockets.cni, env, typeof config === 'string' ? config : JSON.stringify(config)),
    async stop() {
      await Promise.all([docker.close(), sriov.close()])
      await runtime.stop(2000)
      if (shared === undefined) await cluster.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

export type TestGateway = Awaited<ReturnType<typeof startGateway>>

/** A launcher that has no plugin it could be told to run. */
function callCni(socketPath: string, env: CniEnv, stdin: string): Promise<CniReply> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath)
    let reader = new OutcomeReader()
    socket.on('data', (chunk: Buffer) => {
      const answer = reader.push(chunk)
      if (answer === undefined) return
      reader = new OutcomeReader()
      if (answer.status === runPlugin) socket.write(encodeAnswer(noPlugin, ''))
      else resolve({ exitCode: answer.status, stdout: answer.stdout, json: answer.stdout === '' ? undefined : JSON.parse(answer.stdout) })
    })
    socket.once('error', reject)
    socket.once('end', () => reject(new Error('the gateway hung up')))
    socket.write(encodeRequest(new Map(Object.entries(env)), stdin))
  })
}
