/** vf-allocator: inventory of SR-IOV virtual functions and the claims on them. */
export {}
