/** vf-allocator: inventory of SR-IOV virtual functions and the claims on them. */
export { type VfAllocatorConfig, vfAllocatorConfig } from './config.ts'
export { type VfAllocatorParts, vfAllocatorService } from './main.ts'
