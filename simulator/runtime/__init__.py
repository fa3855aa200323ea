"""Running kernels: device memory, the scheduler of blocks, warps and barriers, and the functions generated code calls."""
