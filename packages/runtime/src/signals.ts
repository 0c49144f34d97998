/** Runs a process until it is told to end. */
import type { RuntimeControl } from './runtime.ts'
import { defaultGraceMs } from './runtime.ts'

export interface RunOptions {
  /** From the first signal to the exit. */
  readonly graceMs?: number
  /** Told when everything has started. */
  readonly onStarted?: () => void
}

/** Shell convention: 128 + signal number. */
const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const

/**
 * Starts it and never returns. SIGTERM and SIGINT: graceful, exit code 0; a second one: at once. A failed start, an unhandled
 * rejection or an uncaught exception: logged, stopped as far as the grace allows, exit code 1.
 */
export async function runUntilSignal(control: RuntimeControl, options: RunOptions = {}): Promise<never> {
  const { graceMs = defaultGraceMs } = options
  const { logger } = control
  const ending = Promise.withResolvers<number>()
  let told = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (told) process.exit(exitCodes[signal])
      told = true
      logger.info({ signal, graceMs }, 'stopping; a second signal ends at once')
      ending.resolve(0)
    })
  }
  for (const event of ['unhandledRejection', 'uncaughtException'] as const) {
    process.on(event, (error: unknown) => {
      logger.fatal({ err: error }, `${event}: this is a defect in Heddle; the process ends`)
      ending.resolve(1)
    })
  }
  // Whatever its parts hold open or not, the process lives until it is told to end.
  const alive = setInterval(() => {}, 2 ** 30)
  control.start().then(
    () => options.onStarted?.(),
    (error: unknown) => {
      if (!told) logger.fatal({ err: error }, 'could not start')
      ending.resolve(told ? 0 : 1)
    },
  )
  const code = await ending.promise
  await control.stop(graceMs)
  logger.flush()
  clearInterval(alive)
  process.exit(code)
}
