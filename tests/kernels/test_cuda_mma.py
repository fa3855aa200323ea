"""The wrappers of tensor core instructions do what the PTX ISA says: fragments, transposes, copies; and factors split well."""

import numpy as np
import pytest

from registry.cuda import CudaKernel, launch, simulation

SOURCE = """
#include "crucible.cuh"
#include "mma.cuh"

// One warp: d = a * b, a of 16 x 16 by rows, b of 16 x 8 by rows or by columns.
extern "C" __global__ void multiply(const unsigned short* a, const unsigned short* b, float* d, bool by_columns) {
  __shared__ alignas(16) unsigned short a_tile[16][24], b_tile[16][24];
  for (int i = threadIdx.x; i < 256; i += WARP) a_tile[i / 16][i % 16] = a[i];
  for (int i = threadIdx.x; i < 128; i += WARP) {
    if (by_columns) b_tile[i / 16][i % 16] = b[i];
    else b_tile[i / 8][i % 8] = b[i];
  }
  __syncwarp();
  const int lane = lane_index();
  unsigned left[4], right[2];
  load_matrices(left, &a_tile[lane % 16][lane / 16 * 8]);
  if (by_columns) load_matrices(right, &b_tile[lane % 8][lane / 8 % 2 * 8]);
  else load_transposed(right, &b_tile[lane % 16][0]);
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  multiply_bf16(sums, left, right);
  for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

// One warp: four 8 x 8 matrices side by side, transposed each.
extern "C" __global__ void transpose(const unsigned short* x, unsigned* found) {
  __shared__ alignas(16) unsigned short tile[8][32];
  for (int i = threadIdx.x; i < 256; i += WARP) tile[i / 32][i % 32] = x[i];
  __syncwarp();
  unsigned fragment[4];
  load_transposed(fragment, &tile[threadIdx.x % 8][threadIdx.x / 8 * 8]);
  for (int i = 0; i < 4; ++i) found[WARP * i + threadIdx.x] = fragment[i];
}

extern "C" __global__ void copy(const float* x, float* y, int wanted) {
  __shared__ alignas(16) float tile[5 * WARP];
  copy_async_16(&tile[4 * threadIdx.x], x + 4 * threadIdx.x, threadIdx.x < wanted);
  copy_commit();
  copy_async_4(&tile[4 * WARP + threadIdx.x], x + 4 * WARP + threadIdx.x, threadIdx.x < wanted);
  copy_commit();
  copy_wait<1>();
  __syncwarp();
  for (int i = threadIdx.x; i < 4 * WARP; i += WARP) y[i] = tile[i];
  copy_wait<0>();
  __syncwarp();
  y[4 * WARP + threadIdx.x] = tile[4 * WARP + threadIdx.x];
}

extern "C" __global__ void split(const float* x, unsigned* tf32, unsigned* bf16) {
  const float first = x[2 * threadIdx.x], second = x[2 * threadIdx.x + 1];
  const SplitTf32 parts = split_tf32(first);
  tf32[2 * threadIdx.x] = parts.big;
  tf32[2 * threadIdx.x + 1] = parts.small;
  split_bf16(first, second, bf16[3 * threadIdx.x], bf16[3 * threadIdx.x + 1], bf16[3 * threadIdx.x + 2]);
}
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Return a maker of kernels of `SOURCE`."""
    folder = tmp_path_factory.mktemp("mma")
    (folder / "cuda_wrappers.cu").write_text(SOURCE)
    return lambda name: CudaKernel(str(folder / "cuda_wrappers.py"), name)


def bf16(x):
    """Cut float32 to bf16, as bits."""
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def widen(bits):
    """Return bf16 bits as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("by_columns", [False, True])
def test_fragments_of_both_layouts_give_the_product(kernel, by_columns):
    random = np.random.default_rng(0)
    a, b = bf16(random.integers(-8, 9, (16, 16))), bf16(random.integers(-8, 9, (16, 8)))
    given, d = np.ascontiguousarray(b.T) if by_columns else b, np.empty((16, 8), np.float32)
    with simulation("checked"):
        launch(kernel("multiply"), 1, 32, (a, given, d, by_columns))
    np.testing.assert_array_equal(d, widen(a) @ widen(b))


def test_each_matrix_is_transposed(kernel):
    x, found = np.arange(256, dtype=np.uint16).reshape(8, 32), np.empty((4, 32), np.uint32)
    launch(kernel("transpose"), 1, 32, (x, found))
    for matrix, registers in enumerate(found):
        expected = np.ascontiguousarray(x[:, 8 * matrix : 8 * matrix + 8].T).view(np.uint32).reshape(-1)
        np.testing.assert_array_equal(registers, expected)


@pytest.mark.parametrize("wanted", [0, 3, 32])
def test_copies_arrive_once_waited_for_and_zeros_where_nothing_is_wanted(kernel, wanted):
    x, y = np.arange(1, 161, dtype=np.float32), np.full(160, np.nan, np.float32)
    with simulation("checked"):
        launch(kernel("copy"), 1, 32, (x, y, wanted))
    here = np.concatenate([np.arange(128) < 4 * wanted, np.arange(32) < wanted])
    np.testing.assert_array_equal(y, np.where(here, x, 0))


def test_the_parts_of_a_factor_make_it_up_again(kernel):
    random = np.random.default_rng(1)
    x = (random.standard_normal(64) * 10 ** random.uniform(-6, 6, 64)).astype(np.float32)
    x[:4] = np.inf, -np.inf, np.nan, 0
    tf32, halves = np.empty((32, 2), np.uint32), np.empty((32, 3), np.uint32)
    launch(kernel("split"), 1, 32, (x, tf32, halves))
    firsts, seconds = (halves << 16).view(np.float32).sum(axis=1), (halves & 0xFFFF0000).view(np.float32).sum(axis=1)
    np.testing.assert_array_equal(np.stack([firsts, seconds], axis=1).reshape(-1), x)
    assert (tf32 & 0x1FFF == 0).all()
    np.testing.assert_allclose(tf32.view(np.float32).sum(axis=1), x[::2], rtol=2.0**-22)
