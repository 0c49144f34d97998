/** The roof exports nothing: it is the `heddle` command (src/cli/main.ts). */
export {}
