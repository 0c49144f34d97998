// Tests stand beside the code; what crosses services is in test/. Each file is a process of its own: setns and signals are not for threads.
export default {
  files: ['packages/*/src/**/*.test.ts', 'services/*/src/**/*.test.ts', 'test/**/*.test.ts', '!test/sriov-vm/**'],
  extensions: ['ts'],
  workerThreads: false,
  concurrency: 2,
  timeout: '5m',
  environmentVariables: { HEDDLE_TEST: '1' },
}
