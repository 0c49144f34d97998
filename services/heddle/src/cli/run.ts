/** Runs the command line to an exit code; every failure leaves as one message with its remedy. */
import { type Command, CommanderError } from 'commander'
import { exitCodes } from './exit-codes.ts'

export async function runProgram(program: Command, args: readonly string[]): Promise<number> {
  // `heddle network ls | head` ends when head does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok)
    throw error
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return typeof process.exitCode === 'number' ? process.exitCode : exitCodes.ok
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    const { describe } = await import('./failure.ts')
    const { text, exitCode } = describe(error)
    process.stderr.write(text)
    return exitCode
  }
}
