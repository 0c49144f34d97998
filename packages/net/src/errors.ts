/** The one error of this package: it names the text at fault, so that a caller can turn it into its own field error. */
export class AddressError extends RangeError {
  /** What was given, shortened to 80 characters. */
  readonly text: string
  /** Why it was refused, without the text. */
  readonly reason: string

  constructor(text: string, reason: string) {
    const shown = text.length > 80 ? `${text.slice(0, 80)}...` : text
    super(`${JSON.stringify(shown)} ${reason}`)
    this.name = 'AddressError'
    this.text = shown
    this.reason = reason
  }
}
