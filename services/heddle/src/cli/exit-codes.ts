/** What a script can tell from the exit code. */
export const exitCodes = {
  ok: 0,
  /** Understood and refused, or it went wrong. */
  failed: 1,
  /** The command line or an argument is not valid. */
  usage: 2,
  /** What was asked for does not exist. */
  notFound: 3,
  /** Heddle, or a part it needs, does not answer: try again. */
  unavailable: 4,
} as const

export const exitCodesHelp = `
Exit codes:
  0  done
  1  failed
  2  the command line or an argument is not valid
  3  not found
  4  unavailable: try again later`
