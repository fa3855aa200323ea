"""What the CUDA variants share does what its comments say: reductions, running maxima, column sums, bfloat16."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.cuda import ceil_div
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

SOURCE = """
#include "online.cuh"

extern "C" __global__ void reduce(const float* x, float* sums, float* largest, int size) {
  __shared__ float scratch[8];
  const float mine = threadIdx.x < size ? x[threadIdx.x] : 0.0f;
  sums[threadIdx.x] = block_sum(mine, scratch);
  largest[threadIdx.x] = block_max(threadIdx.x < size ? mine : -infinity(), scratch);
}

extern "C" __global__ void normaliser(const float* x, float* found, int size) {
  __shared__ float2 scratch[8];
  Online seen;
  seen.clear();
  for (int i = threadIdx.x; i < size; i += blockDim.x) seen.add(x[i]);
  seen.merge_block(scratch);
  found[2 * threadIdx.x] = seen.largest;
  found[2 * threadIdx.x + 1] = seen.total;
}

extern "C" __global__ void columns(const float* matrix, float* sums, int rows, int columns) {
  __shared__ float shares[GROUPS][WARP];
  const int column = blockIdx.x * WARP + threadIdx.x;
  const float total = column_sum(matrix, rows, columns, column, shares);
  if (threadIdx.y == 0 && column < columns) sums[column] = total;
}

extern "C" __global__ void round_to_bf16(const float* x, unsigned random, unsigned short* nearest, unsigned short* stochastic,
                                         float* widened, int size) {
  const long long i = thread_index();
  if (i >= size) return;
  nearest[i] = float_to_bf16(x[i]);
  stochastic[i] = float_to_bf16_stochastic(x[i], random);
  widened[i] = bf16_to_float(nearest[i]);
}

extern "C" __global__ void copy_wide(const floatX* x, floatX* y, float* sums, int size) {
  const long long first = thread_index() * Packed128::SIZE;
  Packed128 packed, sum;
  if (first + Packed128::SIZE > size) return;
  packed.load(x + first);
  packed.store(y + first);
  sum.load(sums + first);
  for (int i = 0; i < Packed128::SIZE; ++i) sum.v[i] += packed.v[i];
  sum.store(sums + first);
}
"""

VALUES = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=256).map(lambda x: np.array(x, np.float32))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Return a maker of kernels of `SOURCE`."""
    folder = tmp_path_factory.mktemp("headers")
    (folder / "cuda_headers.cu").write_text(SOURCE)
    return lambda name: CudaKernel(str(folder / "cuda_headers.py"), name)


@pytest.mark.parametrize(("threads", "size"), [(32, 1), (32, 32), (256, 200), (256, 256), (96, 50)])
def test_every_thread_gets_the_sum_and_the_maximum_of_its_block(kernel, threads, size):
    x = np.random.default_rng(size).integers(-9, 9, size).astype(np.float32)
    sums, largest = np.empty(threads, np.float32), np.empty(threads, np.float32)
    launch(kernel("reduce"), 1, threads, (x, sums, largest, size))
    assert (sums == x.sum()).all()
    assert (largest == x.max()).all()


@given(VALUES)
def test_the_running_sum_is_relative_to_the_maximum(kernel, x):
    found = np.empty((256, 2), np.float32)
    launch(kernel("normaliser"), 1, 256, (x, found, x.size))
    with np.errstate(all="ignore"):
        largest = x.max()
        total = np.exp(x.astype(np.float64) - largest).sum()
    assert (found[:, 0] == largest).all()
    if largest == -np.inf:
        assert (found[:, 1] == 0).all()
    else:
        np.testing.assert_allclose(found[:, 1], total, rtol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (1, 1), (7, 33), (100, 64)])
def test_columns_are_summed_over_all_rows(kernel, rows, columns):
    matrix = np.random.default_rng(rows).integers(-9, 9, (rows, columns)).astype(np.float32)
    sums = np.empty(columns, np.float32)
    launch(kernel("columns"), ceil_div(columns, 32), (32, 8), (matrix, sums, rows, columns))
    assert (sums == matrix.sum(axis=0)).all()


def rounded(kernel, x, random=0):
    """Return the bits rounded to nearest, the bits by stochastic rounding, and the former as float32 again."""
    nearest, stochastic, widened = np.empty(x.size, np.uint16), np.empty(x.size, np.uint16), np.empty(x.size, np.float32)
    args = (x, random, nearest, stochastic, widened, x.size)
    launch(kernel("round_to_bf16"), ceil_div(x.size, 128), 128, args)
    return nearest, stochastic, widened


@given(VALUES)
def test_the_nearest_bfloat16_is_chosen_and_ties_go_to_even(kernel, x):
    nearest, _, widened = rounded(kernel, x)
    lower = (x.view(np.uint32) & 0xFFFF0000).astype(np.uint64)
    with np.errstate(all="ignore"):
        below, above = (b.astype(np.uint32).view(np.float32).astype(np.float64) for b in (lower, lower + 0x10000))
        to_below, to_above = np.abs(x - below), np.abs(above - x)
    even_below = (lower >> 16) % 2 == 0
    expected = np.where((to_below < to_above) | ((to_below == to_above) & even_below), below, above)
    finite = np.isfinite(above) & np.isfinite(below)
    assert (widened[finite] == expected[finite]).all()
    assert (widened.view(np.uint32) >> 16 == nearest).all()
    assert (widened[np.isinf(x)] == x[np.isinf(x)]).all()


@pytest.mark.parametrize("bits", [0x7F800001, 0x7F80FFFF, 0x7FC00000, 0xFFFFFFFF])
def test_nan_stays_nan(kernel, bits):
    nearest, stochastic, widened = rounded(kernel, np.array([bits], np.uint32).view(np.float32), random=0xFFFF)
    assert np.isnan(widened).all()
    assert (nearest == stochastic).all()


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_stochastic_rounding_goes_up_in_proportion_to_the_distance(kernel, part, random):
    x = np.array([0x3F800000 | part, 0xBF800000 | part], np.uint32).view(np.float32)
    _, stochastic, _ = rounded(kernel, x, random)
    assert stochastic.tolist() == [0x3F80 + (part + random >= 0x10000), 0xBF80 + (part + random >= 0x10000)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_128_bits_hold_as_many_floats_as_the_dtype_lets_them(kernel, dtype):
    x = np.arange(-12, 12).astype(dtype)
    y, sums = np.zeros_like(x), np.ones(24, np.float32)
    launch(kernel("copy_wide"), 1, 32, (x, y, sums, x.size))
    assert (y == x).all()
    assert (sums == x.astype(np.float32) + 1).all()
