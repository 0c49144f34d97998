/** One unary call of the public API over the gateway's socket. Loaded by actions only: grpc-js takes a tenth of a second. */

import { type CallOptions, type ClientUnaryCall, credentials, Metadata, type requestCallback } from '@grpc/grpc-js'
import { HeddleClient } from '@heddle/contract'
import type { Command } from 'commander'

type Method<Request, Response> = (request: Request, metadata: Metadata, options: Partial<CallOptions>, callback: requestCallback<Response>) => ClientUnaryCall

export interface Session {
  readonly json: boolean
  /** Rejects with grpc-js's ServiceError; `failure.ts` reads it. */
  call<Request, Response>(choose: (client: HeddleClient) => Method<Request, Response>, request: Request): Promise<Response>
}

/** Runs an action with a connection, and closes it. */
export async function withSession(command: Command, action: (session: Session) => Promise<void>): Promise<void> {
  const options = command.optsWithGlobals() as { socket: string; timeout: number; json?: boolean }
  const client = new HeddleClient(`unix:${options.socket}`, credentials.createInsecure(), {
    'grpc.enable_http_proxy': 0,
    'grpc.max_receive_message_length': 64 << 20,
    'grpc.service_config_disable_resolution': 1,
  })
  const deadline = Date.now() + options.timeout
  try {
    await action({
      json: options.json === true,
      call: (choose, request) =>
        new Promise((resolve, reject) => {
          choose(client).call(client, request, new Metadata(), { deadline }, (error, response) => {
            if (error !== null) reject(error)
            else resolve(response as Exclude<typeof response, undefined>)
          })
        }),
    })
  } finally {
    client.close()
  }
}
