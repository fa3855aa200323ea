"""Add up the partial sums of the threads, in the order of the threads."""

from kernels.simd import jit

__all__ = ["add_up"]


@jit
def add_up(partials, gradient, accumulate):
    """Set `gradient` to the sum of the rows of `partials`, or add it."""
    first = 0
    if not accumulate:
        gradient[:] = partials[0]
        first = 1
    for thread in range(first, partials.shape[0]):
        for j in range(gradient.size):
            gradient[j] += partials[thread, j]
