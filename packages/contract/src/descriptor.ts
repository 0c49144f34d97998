/** Where the compiled FileDescriptorSet of the contract lies, for gRPC reflection. */
export const descriptorSetUrl = new URL('./gen/heddle.binpb', import.meta.url)
