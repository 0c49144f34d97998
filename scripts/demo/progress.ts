/** What the demo says while it works: one line a step with the time since the start and what the step took. */

const startedMs = performance.now()
let print = (text: string): void => void process.stdout.write(`${text}\n`)

/** Where the lines go; the terminal unless a test wants them. */
export function printTo(sink: (text: string) => void): void {
  print = sink
}

export function say(text: string): void {
  print(`${stamp()} ${text}`)
}

export function heading(text: string): void {
  print(`\n${stamp()} == ${text}`)
}

/** Prints a command's output, indented. */
export function show(text: string): void {
  print(text.trimEnd().replace(/^/gm, '           '))
}

/** Shows a command as a user would type it. */
export function prompt(host: string, command: string): void {
  say(`${host}$ ${command}`)
}

export async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now()
  const result = await work()
  say(`${what} (${seconds(performance.now() - beganMs)})`)
  return result
}

export function elapsed(): string {
  return seconds(performance.now() - startedMs)
}

function stamp(): string {
  return `[${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s]`
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`
}
