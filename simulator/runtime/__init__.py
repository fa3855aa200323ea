"""Running kernels: the geometry and arguments of launches, device memory, and the result of a launch."""
