"""Running kernels: the geometry and arguments of launches, device memory, and what became of a launch."""
