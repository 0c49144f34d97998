/** `heddle trace ls|show`: what a plugin call did, step by step. */
import type { Command } from 'commander'
import { wholeNumber } from '../whole-number.ts'

export function addTrace(root: Command): void {
  const trace = root.command('trace').description('traces of the last plugin calls of this host')
  trace
    .command('ls')
    .description('list the last traces, newest first')
    .option('--limit <number>', 'how many', wholeNumber('a whole number'), 20)
    .addHelpText(
      'after',
      `
Examples:
  heddle trace ls
  heddle trace ls --limit 5
  heddle --json trace ls | jq '.[] | select(.failed)'`,
    )
    .action(async (options: { limit: number }, command: Command) => {
      const [{ withSession }, { TraceSummary }, { duration, print, shortId, table, timestamp }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const { traces } = await session.call((client) => client.listTraces, { limit: options.limit })
        print(session.json, traces.map(TraceSummary.toJSON), () =>
          table(
            ['TRACE', 'WHAT', 'BEGAN', 'TOOK', 'SPANS', 'RESULT'],
            traces.map((each) => [
              shortId(each.traceId),
              each.name,
              timestamp(new Date(Number(each.startUnixNs / 1_000_000n)).toISOString()),
              duration(Number(each.durationNs) / 1e6),
              String(each.spans),
              each.failed ? 'failed' : 'ok',
            ]),
          ),
        )
      })
    })
  trace
    .command('show')
    .description('show a trace as a tree with a time for each step')
    .argument('[trace]', 'id of the trace, a unique beginning of it, or "last"', 'last')
    .addHelpText(
      'after',
      `
Columns: step, service@host, begin after the start of the trace, duration, bar to scale.

Examples:
  heddle trace show                                     the last one
  heddle trace show 4bf92f35`,
    )
    .action(async (traceId: string, _, command: Command) => {
      const [{ withSession }, { GetTraceResponse }, { traceTree }, { print }] = await Promise.all([
        import('../client.ts'),
        import('@heddle/contract'),
        import('../trace-tree.ts'),
        import('../output.ts'),
      ])
      await withSession(command, async (session) => {
        const response = await session.call((client) => client.getTrace, { traceId })
        print(session.json, GetTraceResponse.toJSON(response), () => traceTree(response.spans))
      })
    })
}
