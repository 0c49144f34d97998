/** The life of a process: configuration, logging, lifecycle, jobs, health, metrics, tracing, signals. */
export { rootContext, withService } from '@heddle/core'
export * from './base-config.ts'
export * from './config.ts'
export { callBindings, createLogger, type LogConfig, type LoggerOptions } from './logger.ts'
export { createRuntime, defaultGraceMs, type RuntimeControl, type RuntimeOptions } from './runtime.ts'
export { type RunOptions, runUntilSignal } from './signals.ts'
export * from './types.ts'
