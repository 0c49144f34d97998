/** The version of this release; `test` compares it with package.json. */
export const version = '0.1.0'
