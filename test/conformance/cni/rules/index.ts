/** All rules, in the order of the specification. */
import type { Rule } from '../../report.ts'
import type { Subject } from '../subject.ts'
import { addRules } from './add.ts'
import { addressRules } from './addresses.ts'
import { chainRules } from './chain.ts'
import { checkRules } from './check.ts'
import { configurationRules } from './configuration.ts'
import { deleteRules } from './delete.ts'
import { environmentRules } from './environment.ts'
import { errorRules } from './errors.ts'
import { gcRules } from './gc.ts'
import { resultRules } from './result.ts'
import { statusRules } from './status.ts'
import { versionRules } from './version.ts'

export const rules: readonly Rule<Subject>[] = [
  ...versionRules,
  ...configurationRules,
  ...environmentRules,
  ...addRules,
  ...deleteRules,
  ...checkRules,
  ...statusRules,
  ...gcRules,
  ...chainRules,
  ...resultRules,
  ...errorRules,
  // The last of them use up the addresses of a plugin that leaks.
  ...addressRules,
]
