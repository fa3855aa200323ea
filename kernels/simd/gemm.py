"""The packed matrix product: result = left @ right + addend, in float32, with GELU fused in where it is wanted.

Both factors are rearranged into panels, and a register tile of the result is computed from one panel of each. The result
does not depend on the number of threads: each element is summed in one fixed order.

Sources: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34 (2008), 12:1-12:25;
F. Van Zee and R. van de Geijn, BLIS: a framework for rapidly instantiating BLAS functionality, ACM TOMS 41 (2015), 14:1-14:33.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
from numba import prange, types

from kernels.simd import parallel
from kernels.simd.gemm_blocks import Target, share_of
from kernels.simd.gemm_epilogue import BACKWARD, FORWARD, NONE
from kernels.simd.gemm_intrinsics import COLUMNS, ROWS, call_for_thread
from kernels.simd.gemm_pack import Side
from kernels.simd.gemm_plan import JOB, LINE, make_plan
from registry import ContractError

__all__ = ["COLUMNS", "ROWS", "multiply", "workspace_size"]

_FLOAT = 4  # bytes
_SMALL = 2**16  # multiplications that one thread does sooner than a second one wakes up


@cache
def _compiled():
    """Compile on first use: it takes addresses, so that one specialisation serves all shapes, layouts and epilogues."""
    compile_ = numba.cfunc(types.void(types.int64, types.int64), cache=True, nopython=True, error_model="numpy")
    function = compile_(share_of)
    return function.ctypes, function.address


@parallel
def _share_out(function, threads, job):
    for thread in prange(threads):
        call_for_thread(function, np.int64(thread), job)


def _plan(rows, columns, depth, threads):
    return make_plan(1 if rows * columns * depth <= _SMALL else threads, rows, columns, depth)


def workspace_size(threads, rows, columns, depth):
    """Return how many floats of scratch memory a product of rows x depth by depth x columns needs."""
    return _plan(rows, columns, depth, threads).size // _FLOAT


def multiply(left, right, result, workspace, *, bias=None, accumulate=False, gelu=None, gelu_slope_at=None):
    """Set result = left @ right, plus `bias` in every row, or added to the old result.

    Parameters
    ----------
    left, right : float32 array
        Factors of rows x depth and depth x columns, C-contiguous or the transpose of such an array; any dim may be 0.
    result : float32 array
        C-contiguous; is not read unless `accumulate`.
    workspace : float32 array
        At least `workspace_size` floats for the present number of threads.
    gelu : float32 array, optional
        Receives the GELU of the result.
    gelu_slope_at : float32 array, optional
        The result is multiplied by GELU's slope there.

    Raises
    ------
    ContractError
        The workspace is too small.
    """
    (rows, depth), columns = left.shape, right.shape[1]
    if rows == 0 or columns == 0:
        return
    threads = numba.get_num_threads()
    plan = _plan(rows, columns, depth, threads)
    if workspace.nbytes < plan.size:
        raise ContractError(f"workspace of {workspace.nbytes} bytes, {plan.size} are needed with {threads} threads")
    skipped = -workspace.ctypes.data % LINE
    scratch = workspace.ctypes.data + skipped
    head = workspace[skipped // _FLOAT : (skipped + plan.tiles) // _FLOAT]
    head[:] = 0  # the counters and the row of zeros

    start, row = result.ctypes.data, result.strides[0]
    if accumulate:
        addend = (start, row, _FLOAT)
    elif bias is not None:
        addend = (bias.ctypes.data, 0, _FLOAT)
    else:
        addend = (scratch + plan.zeros, 0, 0)
    other = gelu if gelu is not None else gelu_slope_at
    epilogue = NONE if other is None else FORWARD if gelu is not None else BACKWARD
    target = Target(start, row, *addend, epilogue, start if other is None else other.ctypes.data)
    left_side = Side(left.ctypes.data, *left.strides, rows, ROWS)
    right_side = Side(right.ctypes.data, *right.strides[::-1], columns, COLUMNS)
    head.view(np.int64)[:JOB] = (*plan, *left_side, *right_side, *target, depth, scratch)
    alone, address = _compiled()
    if plan.threads == 1:
        alone(0, scratch)
    else:
        _share_out(address, threads, scratch)
