/** YAML, imported when it is needed. By name and statically, so that a bundle finds the names of the CommonJS package. */
export { parse } from 'yaml'
