/** What becomes of networks and their aliases, decided from records read in one transaction. */
import type { Network } from '@heddle/contract'
import { checkHostName, checkOpaqueId, HeddleError, invalid } from '@heddle/core'
import type { Known, Question } from '@heddle/store'
import { keys } from '../keys.ts'
import { differences, networkExists } from './network.ts'
import { type NetworkRef, read, readNetwork, writeNetwork } from './records.ts'

/** Throws network-exists when the name has another definition, invalid-argument when the id belongs to another name. */
export function createNetwork(asked: Network): Question<{ readonly network: Network; readonly created: boolean }> {
  const nameKey = keys.name(asked.name)
  const byNameKey = (known: Known) => {
    const ref = known.get(nameKey)
    return ref === undefined ? undefined : keys.network(read<NetworkRef>(ref).networkId)
  }
  return {
    keys: (known) => [...new Set([nameKey, keys.network(asked.id), byNameKey(known)])].filter((key) => key !== undefined),
    decide: (known) => {
      const record = known.get(byNameKey(known) ?? '')
      if (record !== undefined) {
        const there = readNetwork(record)
        const found = differences(there, asked)
        if (Object.keys(found).length > 0) throw networkExists(there, found)
        return { write: [], result: { network: there, created: false } }
      }
      const sameId = known.get(keys.network(asked.id))
      if (sameId !== undefined)
        throw invalid('network.id', `network id ${asked.id} belongs to network ${readNetwork(sameId).name}`, 'leave the id empty to get a new one')
      const write = [
        { put: keys.network(asked.id), value: writeNetwork(asked) },
        { put: nameKey, value: JSON.stringify({ networkId: asked.id }) },
      ]
      return { write, result: { network: asked, created: true } }
    },
  }
}

export function bindAlias(alias: string, networkId: string, now: string): Question<void> {
  const networkKey = keys.network(networkId)
  const aliasKey = keys.alias(alias)
  return {
    keys: () => [networkKey, aliasKey],
    decide: (known) => {
      if (!known.has(networkKey)) throw networkUnknown('id', networkId)
      const bound = known.get(aliasKey)
      if (bound !== undefined) {
        const other = read<NetworkRef>(bound).networkId
        if (other === networkId) return { write: [], result: undefined }
        throw new HeddleError('network-exists', `alias ${alias} is bound to network ${other}`, {
          field: 'alias',
          remedy: 'unbind it first',
          details: { networkId: other },
        })
      }
      const value = JSON.stringify({ networkId, boundAt: now })
      return {
        write: [
          { put: aliasKey, value },
          { put: keys.aliasOf(networkId, alias), value },
        ],
        result: undefined,
      }
    },
  }
}

/** Answers the id of the network it pointed at. */
export function unbindAlias(alias: string): Question<string | undefined> {
  const aliasKey = keys.alias(alias)
  return {
    keys: () => [aliasKey],
    decide: (known) => {
      const bound = known.get(aliasKey)
      if (bound === undefined) return { write: [], result: undefined }
      const { networkId } = read<NetworkRef>(bound)
      return { write: [{ delete: aliasKey }, { delete: keys.aliasOf(networkId, alias) }], result: networkId }
    },
  }
}

/** `docker:<host>:<NetworkID>` */
export function checkAlias(alias: string, field = 'alias'): string {
  const [runtime, host, id, ...rest] = alias.split(':')
  if (runtime !== 'docker' || host === undefined || id === undefined || rest.length > 0) {
    throw invalid(field, `alias ${JSON.stringify(alias.slice(0, 80))} is not valid`, 'write docker:<host>:<NetworkID>')
  }
  checkHostName(host, field)
  checkOpaqueId(id, field)
  return alias
}

export function networkUnknown(by: 'id' | 'name' | 'alias', value: string): HeddleError {
  return new HeddleError('network-unknown', `there is no network with ${by} ${value}`, { field: by, remedy: 'see `heddle network ls`, or create it first' })
}

/** Names up to five users of a network. */
export function networkInUse(network: Network, endpoints: readonly string[], aliases: readonly string[]): HeddleError {
  const users = [...endpoints, ...aliases]
  const more = users.length > 5 ? ` and ${users.length - 5} more` : ''
  return new HeddleError('network-in-use', `network ${network.name} is in use by ${users.slice(0, 5).join(', ')}${more}`, {
    field: 'id',
    remedy: endpoints.length > 0 ? 'detach its containers first' : 'remove the Docker networks that point at it first',
    details: { endpoints: String(endpoints.length), aliases: String(aliases.length) },
  })
}
