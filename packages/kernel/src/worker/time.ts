/** Unix milliseconds with fractions, monotonic within the thread. */
export const nowMs = (): number => performance.timeOrigin + performance.now()
