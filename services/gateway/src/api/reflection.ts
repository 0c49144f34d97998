/**
 * gRPC server reflection. The library compiles the whole descriptor set for it, ten mebibytes that most hosts never
 * need: so the service is registered by its wire names, and the library loaded by the first who asks.
 */
import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { type Server, type ServerDuplexStream, type ServiceDefinition, status, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { descriptorSetUrl } from '@heddle/contract'

const method = 'ServerReflectionInfo'
const services = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'] as const

type RawStream = ServerDuplexStream<Buffer, Buffer>
type Loaded = ReadonlyMap<string, { readonly definition: ServiceDefinition; readonly implementation: UntypedServiceImplementation }>

export function addReflection(server: Server): void {
  let loaded: Promise<Loaded> | undefined
  for (const name of services) {
    const raw = (bytes: Buffer) => bytes
    const path = `/${name}/${method}`
    const definition = {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: raw,
      requestDeserialize: raw,
      responseSerialize: raw,
      responseDeserialize: raw,
    }
    server.addService(
      { [method]: definition },
      {
        [method]: (stream: RawStream) => {
          loaded ??= load()
          loaded.then((all) => relay(all, path, stream)).catch((error: unknown) => stream.destroy(error as Error))
        },
      },
    )
  }
}

/** What the library would have registered, by path. */
async function load(): Promise<Loaded> {
  const [{ loadFileDescriptorSetFromBuffer }, { ReflectionService }] = await Promise.all([import('@grpc/proto-loader'), import('@grpc/reflection')])
  const registered = new Map<string, { definition: ServiceDefinition; implementation: UntypedServiceImplementation }>()
  new ReflectionService(loadFileDescriptorSetFromBuffer(readFileSync(descriptorSetUrl))).addToServer({
    addService: (definition, implementation) => registered.set(definition[method]?.path ?? '', { definition, implementation }),
  })
  return registered
}

/** The library's handler on decoded messages, the client's stream on bytes. */
function relay(all: Loaded, path: string, raw: RawStream): void {
  const service = all.get(path)
  const info = service?.definition[method]
  const handler = service?.implementation[method] as ((stream: EventEmitter) => void) | undefined
  if (info === undefined || handler === undefined) throw new TypeError(`the reflection library has no ${path}`)
  const decoded = Object.assign(new EventEmitter(), { write: (message: unknown) => raw.write(info.responseSerialize(message)), end: () => raw.end() })
  handler(decoded)
  raw.on('data', (bytes: Buffer) => {
    let message: unknown
    try {
      message = info.requestDeserialize(bytes)
    } catch (error) {
      // What a listener throws would end the process.
      raw.emit('error', { code: status.INVALID_ARGUMENT, details: `the request cannot be decoded: ${(error as Error).message}` })
      return
    }
    decoded.emit('data', message)
  })
  raw.on('end', () => decoded.emit('end'))
}
