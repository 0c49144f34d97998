/** `heddle doctor`: what this host can do, what it lacks, what is left over, and what to do about each. */
import type { DiagnoseResponse } from '@heddle/contract'
import type { Command } from 'commander'
import { exitCodes } from '../exit-codes.ts'

export function addDoctor(root: Command): void {
  root
    .command('doctor')
    .description('check kernel, sockets, NATS, etcd, MTU and leftovers of this host')
    .addHelpText(
      'after',
      `
Ends with exit code 1 when a finding is an error; warnings do not count.

Examples:
  heddle doctor
  heddle --json doctor | jq '.findings[] | select(.level == "error")'`,
    )
    .action(async (_, command: Command) => {
      const [{ withSession }, { DiagnoseResponse }, { facts, print }, { localFindings }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../output.ts'),
        import('../local-findings.ts'),
      ])
      const socket = String(command.optsWithGlobals()['socket'])
      const local = localFindings(socket)
      const unreachable = local.some((finding) => finding.subject === 'gateway socket' && finding.level === 'error')
      const answer = DiagnoseResponse.fromPartial(unreachable ? {} : await diagnose(command, withSession))
      const findings = [...local, ...answer.findings]
      const inventory = answer.inventory
      print(command.optsWithGlobals()['json'] === true, DiagnoseResponse.toJSON({ ...answer, findings }), () => {
        const lines = findings.map((finding) => {
          const mark = { ok: 'ok     ', warning: 'warning', error: 'ERROR  ' }[finding.level] ?? finding.level
          return `${mark}  ${finding.subject}: ${finding.message}\n${finding.remedy === '' ? '' : `         -> ${finding.remedy}\n`}`
        })
        const kept =
          inventory === undefined
            ? ''
            : `\nOn this host:\n${facts([
                ['networks', String(inventory.networks)],
                ['links', String(inventory.links)],
                ['FDB entries', String(inventory.fdbEntries)],
                ['neighbours', String(inventory.neighbours)],
                ['namespaces', String(inventory.namespaces)],
                ['published ports', String(inventory.publishedPorts)],
              ])}`
        return lines.join('') + kept
      })
      if (findings.some((finding) => finding.level === 'error')) process.exitCode = exitCodes.failed
    })
}

/** What the gateway finds; that it does not answer (a socket file outlives a crash) is a finding too. */
async function diagnose(command: Command, withSession: typeof import('../client.ts').withSession): Promise<Partial<DiagnoseResponse>> {
  let answer: DiagnoseResponse | undefined
  try {
    await withSession(command, async (session) => {
      answer = await session.call((client) => client.diagnose, {})
    })
    return answer ?? {}
  } catch (thrown) {
    const { asHeddleError } = await import('../failure.ts')
    const { message, remedy = '' } = asHeddleError(thrown)
    return { findings: [{ level: 'error', subject: 'gateway', message, remedy }] }
  }
}
