"""Whole kernels in both modes, in any order of blocks, against numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.codegen.compile import Target
from tests.simulator.sources import only_kernel

SAXPY = """
extern "C" __global__ void saxpy(float a, const float* x, float* y, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = a * x[i] + y[i];
}
"""
MATMUL = """
extern "C" __global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) {
  __shared__ float left[16][16], right[16][17];
  int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
  float total = 0;
  for (int start = 0; start < k; start += 16) {
    left[threadIdx.y][threadIdx.x] = row < m && start + threadIdx.x < k ? a[row * k + start + threadIdx.x] : 0;
    right[threadIdx.y][threadIdx.x] = column < n && start + threadIdx.y < k ? b[(start + threadIdx.y) * n + column] : 0;
    __syncthreads();
    for (int i = 0; i < 16; i++) total += left[threadIdx.y][i] * right[i][threadIdx.x];
    __syncthreads();
  }
  if (row < m && column < n) c[row * n + column] = total;
}
"""
ROW_SUMS = """
extern "C" __global__ void row_sums(const float* x, float* y, int n) {
  __shared__ float parts[8];
  float total = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) total += x[(size_t)blockIdx.x * n + i];
  for (int d = 16; d; d /= 2) total += __shfl_xor_sync(0xffffffffu, total, d);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = total;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0;
    for (int w = 0; w < blockDim.x / 32; w++) sum += parts[w];
    y[blockIdx.x] = sum;
  }
}
"""
COLLATZ = """
extern "C" __global__ void collatz(const unsigned* x, int* steps, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  unsigned v = x[i];
  int count = 0;
  while (v > 1) {
    if (v % 2) v = 3 * v + 1; else v /= 2;
    count++;
  }
  steps[i] = count;
}
"""
MATH = """
extern "C" __global__ void math(const float* x, float* y, double* z, int n) {
  int i = threadIdx.x;
  if (i >= n) return;
  float v = x[i];
  y[i] = expf(v); y[n + i] = logf(fabsf(v) + 1); y[2 * n + i] = tanhf(v); y[3 * n + i] = rsqrtf(fabsf(v) + 1);
  y[4 * n + i] = powf(fabsf(v) + 0.5f, 1.7f); y[5 * n + i] = sqrtf(fabsf(v));
  z[i] = exp((double)v) / 3;
}
"""
MODES = pytest.mark.parametrize("mode", ["fast", "checked"])
orders = st.one_of(st.sampled_from(["ascending", "descending"]), st.integers(0, 99))


@MODES
@given(n=st.integers(1, 700), blocks=st.integers(1, 3), threads=st.integers(1, 200), order=orders)
def test_a_grid_stride_loop(mode, n, blocks, threads, order):
    x, y = np.arange(n, dtype=np.float32), np.ones(n, np.float32)
    done = only_kernel(SAXPY).launch(blocks, threads, (2.0, x, y, n), mode=mode, order=order)
    assert (done.status, done.findings) == ("ok", [])
    np.testing.assert_array_equal(y, 2 * x + 1)


@MODES
@given(m=st.integers(1, 33), n=st.integers(1, 33), k=st.integers(1, 33), order=orders)
def test_tiles_in_shared_memory(mode, m, n, k, order):
    draw = np.random.default_rng(m * n * k)
    a, b = (draw.integers(-8, 8, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    c = np.full((m, n), np.nan, np.float32)
    grid = ((n + 15) // 16, (m + 15) // 16)
    done = only_kernel(MATMUL).launch(grid, (16, 16), (a, b, c, m, n, k), mode=mode, order=order, unwritten=(2,))
    assert (done.status, done.findings) == ("ok", [])
    np.testing.assert_array_equal(c, a @ b)


@MODES
@given(rows=st.integers(1, 4), n=st.integers(1, 300), warps=st.integers(1, 8), order=orders)
def test_a_reduction_by_shuffles_and_shared_memory(mode, rows, n, warps, order):
    x = np.random.default_rng(n).integers(-99, 99, (rows, n)).astype(np.float32)
    y = np.full(rows, np.nan, np.float32)
    done = only_kernel(ROW_SUMS).launch(rows, 32 * warps, (x, y, n), mode=mode, order=order, unwritten=(1,))
    assert (done.status, done.findings) == ("ok", [])
    np.testing.assert_array_equal(y, x.sum(1))


@MODES
@given(values=st.lists(st.integers(1, 5000), min_size=1, max_size=80))
def test_lanes_that_part_and_meet(mode, values):
    def steps(v):
        count = 0
        while v > 1:
            v, count = (3 * v + 1 if v % 2 else v // 2), count + 1
        return count

    x, y = np.array(values, np.uint32), np.zeros(len(values), np.int32)
    done = only_kernel(COLLATZ).launch((len(values) + 63) // 64, 64, (x, y, len(values)), mode=mode)
    assert done.findings == []
    assert y.tolist() == [steps(v) for v in values]


@MODES
@pytest.mark.parametrize("target", [None, Target.named("haswell")], ids=["this machine", "without AVX-512"])
def test_math_and_other_processors(mode, target):
    n = 100
    x = np.random.default_rng(0).normal(size=n).astype(np.float32)
    y, z = np.zeros((6, n), np.float32), np.zeros(n)
    done = only_kernel(MATH, target).launch(1, 128, (x, y, z, n), mode=mode)
    wide = x.astype(np.float64)
    more, half = (abs(x) + np.float32(1)).astype(np.float64), (abs(x) + np.float32(0.5)).astype(np.float64)
    power, root = half ** np.float64(np.float32(1.7)), np.sqrt(abs(wide))
    expected = [np.exp(wide), np.log(more), np.tanh(wide), 1 / np.sqrt(more), power, root]
    assert done.findings == []
    np.testing.assert_allclose(y, expected, rtol=1e-7)
    np.testing.assert_allclose(z, np.exp(wide) / 3, rtol=1e-15)


@pytest.mark.parametrize("kernel", [SAXPY, MATMUL, ROW_SUMS])
def test_the_instructions_counted_are_the_same_in_both_modes(kernel):
    def count(mode):
        x = np.ones(1024, np.float32)
        arguments = {SAXPY: (2.0, x, x.copy(), 1024), MATMUL: (x, x, x.copy(), 32, 32, 32), ROW_SUMS: (x, x.copy(), 512)}
        grid, block = {SAXPY: (2, 64), MATMUL: ((2, 2), (16, 16)), ROW_SUMS: (2, 64)}[kernel]
        return only_kernel(kernel).launch(grid, block, arguments[kernel], mode=mode).instructions

    assert count("fast") == count("checked") > 1000
