// The tests in guests with an emulated SR-IOV card: `npm run test:sriov-vm`. Two guests at once are as many as two processors carry.
import base from './ava.config.js'

export default { ...base, files: ['test/sriov-vm/**/*.test.ts'], timeout: '8m' }
