"""What the ladders say of memory traffic, counted by the simulator: stretches of memory for a warp, no bank conflicts."""

import numpy as np
import pytest

from harness.proof.cases.values import materialise
from registry import Problem, discover
from registry.cuda import simulation
from registry.dtypes import DTYPES

DIMS = {
    "layer_norm": {"N": 32, "C": 256},
    "layer_norm_backward": {"N": 32, "C": 256},
    "residual": {"N": 32, "C": 256},
    "residual_backward": {"N": 32, "C": 256},
    "residual_layer_norm": {"N": 32, "C": 256},
    "residual_layer_norm_backward": {"N": 32, "C": 256},
    "gelu": {"N": 32, "C": 256},
    "gelu_backward": {"N": 32, "C": 256},
    "rms_norm": {"N": 32, "C": 256},
    "rms_norm_backward": {"N": 32, "C": 256},
    "softmax": {"N": 32, "C": 256},
    "softmax_backward": {"N": 32, "C": 256},
    "cross_entropy": {"N": 32, "V": 250, "P": 6},
    "cross_entropy_backward": {"N": 32, "V": 250, "P": 6},
    "embedding": {"B": 2, "T": 16, "C": 256, "V": 50, "P": 6, "S": 3},
    "embedding_backward": {"B": 2, "T": 16, "C": 256, "V": 50, "P": 6, "S": 3},
    "adamw": {"K": 4096},
    "global_norm": {"K": 4096},
    "matmul_backward_bias": {"N": 128, "O": 256},
}
TABLE = discover()
VARIANTS = [v for op in DIMS for v in TABLE.variants[op].values() if v.backend == "cuda"]
GOOD = [(v, dtype) for v in VARIANTS if v.name != "cuda_naive" for dtype in v.dtypes]
A_THREAD_FOR_EACH_ROW = ("layer_norm", "residual_layer_norm", "rms_norm", "softmax", "softmax_backward", "cross_entropy")
# Of bfloat16 a lane has eight elements, whose float32 sums lie in the same banks of shared memory as those four lanes on.
SUMS_IN_SHARED = (
    "layer_norm_backward/cuda_warp",
    "residual_layer_norm/cuda_vector",
    "residual_layer_norm_backward/cuda_warp",
    "rms_norm_backward/cuda_partials",
)
IN_LINE = 4  # sectors of 32 bytes that the floats of a warp fill


def aligned(shape, dtype):
    """Return an array that starts at a multiple of 64 bytes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


def count(variant, dtype="float32"):
    """Return the counters of each launch of one call on a problem of `dtype`."""
    op, dims = variant.op, DIMS[variant.op.name]
    params = {n: v[0] for n, v in op.params.items() if not isinstance(v, str)} | op.bound_params(dims)
    values = materialise(op, Problem(op.name, dims, params, dtype=dtype))
    arrays = [aligned(a.shape(dims), a.numpy_dtype(dtype)) for a in op.arguments]
    for argument, array in zip(op.arguments, arrays, strict=True):
        array[...] = values.get(argument.name, 0)
    work = {"workspace": aligned((variant.workspace_size(dims, 1),), np.float32)} if variant.workspace else {}
    with simulation("checked") as launches:
        variant.function(*arrays, **params, **work)
    return [done.counters.total for done in launches]


@pytest.mark.parametrize(("variant", "dtype"), GOOD, ids=str)
def test_beyond_the_naive_rung_no_sector_is_wasted_and_no_bank_asked_twice(variant, dtype):
    for counted in count(variant, dtype):
        assert counted.sectors <= counted.ideal_sectors
        twice = dtype == "bfloat16" and str(variant) in SUMS_IN_SHARED
        assert counted.bank_conflicts <= (counted.wavefronts / 2 if twice else 0)


@pytest.mark.parametrize("op", A_THREAD_FOR_EACH_ROW)
def test_threads_that_own_rows_touch_a_sector_each(op):
    [counted] = count(TABLE.variant(op, "cuda_naive"))
    assert counted.sectors_per_request > 4 * IN_LINE


@pytest.mark.parametrize("op", ["residual", "residual_backward", "gelu", "gelu_backward", "adamw", "embedding"])
def test_pieces_of_128_bits_take_a_quarter_of_the_requests(op):
    [single], [four] = count(TABLE.variant(op, "cuda_naive")), count(TABLE.variant(op, "cuda_vector"))
    assert 4 * four.requests <= single.requests


@pytest.mark.parametrize("op", ["residual", "residual_backward", "gelu", "gelu_backward"])
def test_bfloat16_takes_half_the_requests_and_half_the_sectors(op):
    [floats], [halves] = (count(TABLE.variant(op, "cuda_vector"), dtype) for dtype in DTYPES)
    assert 2 * halves.requests == floats.requests
    assert 2 * halves.sectors == floats.sectors
