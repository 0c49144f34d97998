// The tests in guests with an emulated SR-IOV card: `npm run test:sriov-vm`. One file after the other: two guests, which one file may start,
// are as many as two processors carry.
import base from './ava.config.js'

export default { ...base, files: ['test/sriov-vm/**/*.test.ts'], concurrency: 1, timeout: '8m' }
