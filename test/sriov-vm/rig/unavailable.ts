/** Why guests cannot be made on this machine: a reason to skip, not a failure. */
export class Unavailable extends Error {}
