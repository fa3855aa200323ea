"""A product as sums of whole rows: multiples of four rows are added to a row with one load and store of the sum.

Dims: I = rows of the product, J = columns, K = depth.
"""

from kernels.simd import jit

__all__ = ["add_product"]


@jit
def _add_four(row, a0, a1, a2, a3, b0, b1, b2, b3):
    for j in range(row.size):
        row[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]


@jit
def _add_one(row, a, b):
    for j in range(row.size):
        row[j] += a * b[j]


@jit
def add_product(target_IJ, left_IK, right_KJ):
    """Add ``left_IK @ right_KJ`` to `target_IJ`; `left_IK` may be a transposed view."""
    depth = right_KJ.shape[0]
    fours = depth // 4 * 4
    for k in range(0, fours, 4):
        b0, b1, b2, b3 = right_KJ[k], right_KJ[k + 1], right_KJ[k + 2], right_KJ[k + 3]
        for i in range(target_IJ.shape[0]):
            _add_four(target_IJ[i], left_IK[i, k], left_IK[i, k + 1], left_IK[i, k + 2], left_IK[i, k + 3], b0, b1, b2, b3)
    for k in range(fours, depth):
        for i in range(target_IJ.shape[0]):
            _add_one(target_IJ[i], left_IK[i, k], right_KJ[k])
