/**
 * Lists in pages that fit a message of the bus. A page's token is the key of its last entry, so any replica can go on, and
 * what is there all the while is in exactly one page, whatever comes and goes meanwhile.
 */

/** Of one page as encoded; a message of NATS takes 1 MiB. */
export const maxPageBytes = 256 * 1024

export interface Page<T> {
  readonly entries: readonly T[]
  /** Empty on the last page. */
  readonly nextPageToken: string
}

export interface PageShape<T> {
  keyOf(entry: T): string
  /** As encoded. */
  bytesOf(entry: T): number
}

/** The page that follows a token; entries may come in any order. */
export function pageAfter<T>(pageToken: string, entries: Iterable<T>, { keyOf, bytesOf }: PageShape<T>, maxBytes = maxPageBytes): Page<T> {
  const left = [...entries].map((entry) => ({ entry, key: keyOf(entry) })).filter(({ key }) => key > pageToken)
  left.sort((a, b) => (a.key < b.key ? -1 : 1))
  const page: T[] = []
  let [bytes, last] = [0, '']
  for (const { entry, key } of left) {
    bytes += bytesOf(entry)
    // One entry always, however large: a page that brings nothing would end no list.
    if (bytes > maxBytes && page.length > 0) return { entries: page, nextPageToken: last }
    page.push(entry)
    last = key
  }
  return { entries: page, nextPageToken: '' }
}

/** Every entry of a list, page by page. */
export async function allPages<P extends { readonly nextPageToken: string }, T>(
  fetch: (pageToken: string) => Promise<P>,
  entriesOf: (page: P) => readonly T[],
): Promise<T[]> {
  const all: T[] = []
  let pageToken = ''
  do {
    const page = await fetch(pageToken)
    for (const entry of entriesOf(page)) all.push(entry)
    pageToken = page.nextPageToken
  } while (pageToken)
  return all
}
