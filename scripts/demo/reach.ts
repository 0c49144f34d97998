/** Ping and TCP from one container to an address of another. */
import { setTimeout as delay } from 'node:timers/promises'
import { say } from './progress.ts'

export interface Peer {
  readonly name: string
  /** Without length. */
  readonly addresses: readonly string[]
  /** Runs a command inside; answers its standard output, rejects when it fails. */
  exec(command: readonly string[]): Promise<string>
}

/** The command of a container that answers HTTP with its own name. */
export function webServer(name: string): readonly string[] {
  return ['/bin/sh', '-c', `echo ${name} > /www/index.html; exec httpd -f -p 80 -h /www`]
}

/** Rejects when one of them does not get through. */
export async function reach(from: Peer, to: Peer): Promise<void> {
  for (const address of to.addresses) {
    const family = address.includes(':') ? 'IPv6' : 'IPv4'
    const ping = await from.exec([family === 'IPv6' ? 'ping6' : 'ping', '-c', '3', '-i', '0.2', '-W', '2', address])
    if (!/ 0% packet loss/.test(ping)) throw new Error(`${from.name} -> ${to.name}: ping ${address} lost packets:\n${ping}`)
    const roundTrip = /= ([\d.]+)\/([\d.]+)\/([\d.]+) ms/.exec(ping)?.[2] ?? '?'
    const page = await fetchPage(from, address)
    if (page.trim() !== to.name) throw new Error(`${from.name} -> ${to.name}: TCP to ${address} answered ${JSON.stringify(page)}`)
    say(`  ${from.name} -> ${to.name} ${address.padEnd(14)} ${family}: ping 3 of 3, ${roundTrip} ms; TCP: "${page.trim()}"`)
  }
}

/** The server of a container that has only just begun may not listen yet. */
// No -T: busybox 1.35 crashes on it.
async function fetchPage(from: Peer, address: string): Promise<string> {
  const url = `http://${address.includes(':') ? `[${address}]` : address}/`
  for (let attempt = 1; ; attempt++) {
    try {
      return await from.exec(['wget', '-q', '-O', '-', url])
    } catch (error) {
      if (attempt === 10) throw error
      await delay(200)
    }
  }
}
