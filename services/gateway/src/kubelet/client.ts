/** Questions to the kubelet, each over a connection of its own: they are rare, and a kubelet that restarts would leave a dead one. */
import { type CallOptions, type Client, type ClientUnaryCall, Metadata, type ServiceError } from '@grpc/grpc-js'
import { type Call, HeddleError, remainingMs } from '@heddle/core'

type Send<C, T> = (client: C, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, answer: T) => void) => ClientUnaryCall

/** Closes the client. Fails with unavailable, whatever the kubelet says. */
export async function askKubelet<C extends Client, T>(client: C, send: Send<C, T>, call: Call): Promise<T> {
  let cancel = () => {}
  try {
    return await new Promise<T>((resolve, reject) => {
      const sent = send(client, new Metadata(), { deadline: Date.now() + remainingMs(call) }, (error, answer) => {
        if (error === null) resolve(answer)
        else reject(new HeddleError('unavailable', `the kubelet answers: ${error.details}`, { cause: error, remedy: 'see the log of the kubelet' }))
      })
      cancel = () => sent.cancel()
      call.signal.addEventListener('abort', cancel, { once: true })
    })
  } finally {
    call.signal.removeEventListener('abort', cancel)
    client.close()
  }
}
