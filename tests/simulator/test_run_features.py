"""Features of kernels beyond loads, arithmetic and barriers, in both modes."""

import numpy as np
import pytest

from tests.simulator.sources import module_of, only_kernel

MODES = pytest.mark.parametrize("mode", ["fast", "checked"])


def bf16(x):
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def widened(x):
    return (x.astype(np.uint32) << 16).view(np.float32)


PIPELINE = """
typedef unsigned short bf;
__device__ unsigned at(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
extern "C" __global__ void pipeline(const bf* a, const bf* b, float* c, int n, int k) {
  __shared__ __align__(16) bf left[2][64][40], right[2][32][40];
  int t = threadIdx.x, w = t / 32, l = t % 32, m0 = blockIdx.y * 64, n0 = blockIdx.x * 32;
  float sum[4][4] = {};
  auto fetch = [&](int s, int k0) {
    for (int i = t; i < 256; i += 128) {
      int r = i / 4, q = i % 4 * 8;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at(&left[s][r][q])), "l"(a + (m0 + r) * k + k0 + q));
    }
    int r = t / 4, q = t % 4 * 8;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at(&right[s][r][q])), "l"(b + (k0 + r) * n + n0 + q));
    asm volatile("cp.async.commit_group;");
  };
  fetch(0, 0);
  for (int k0 = 0, s = 0; k0 < k; k0 += 32, s ^= 1) {
    if (k0 + 32 < k) {
      fetch(s ^ 1, k0 + 32);
      asm volatile("cp.async.wait_group 1;");
    } else {
      asm volatile("cp.async.wait_group 0;");
    }
    __syncthreads();
    for (int kk = 0; kk < 32; kk += 16) {
      unsigned x[4];
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                   : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                   : "r"(at(&left[s][w * 16 + (l & 15)][kk + (l >> 4) * 8])));
      for (int j = 0; j < 4; j++) {
        unsigned y[2];
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                     : "=r"(y[0]), "=r"(y[1]) : "r"(at(&right[s][kk + (l & 15)][j * 8])));
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                     : "+f"(sum[j][0]), "+f"(sum[j][1]), "+f"(sum[j][2]), "+f"(sum[j][3])
                     : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
      }
    }
    __syncthreads();
  }
  for (int j = 0; j < 4; j++)
    for (int i = 0; i < 4; i++) {
      int row = m0 + w * 16 + l / 4 + i / 2 * 8, column = n0 + j * 8 + l % 4 * 2 + i % 2;
      c[row * n + column] = sum[j][i];
    }
}
"""


@MODES
def test_a_tensor_core_pipeline(mode):
    draw = np.random.default_rng(0)
    a, b = (bf16(draw.normal(size=shape)) for shape in ((128, 96), (96, 64)))
    c = np.full((128, 64), np.nan, np.float32)
    done = only_kernel(PIPELINE).launch((2, 2), 128, (a, b, c, 64, 96), mode=mode, unwritten=(2,))
    assert done.findings == []
    np.testing.assert_allclose(c, widened(a).astype(np.float64) @ widened(b), atol=1e-4)
    if mode == "checked":
        assert done.counters.total.flops["bf16 mma"] == 2 * 128 * 64 * 96


LOCKS = """
extern "C" __global__ void locks(int* lock, int* total) {
  bool done = false;
  while (!done)
    if (atomicCAS(lock, 0, 1) == 0) {
      __threadfence();
      total[0] += 1;
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
}
"""


@MODES
def test_a_lock_among_lanes_warps_and_blocks(mode):
    lock, total = np.zeros(1, np.int32), np.zeros(1, np.int32)
    done = only_kernel(LOCKS).launch(2, 40, (lock, total), mode=mode)
    assert (done.findings, total[0], lock[0]) == ([], 80, 0)


ATOMICS = """
extern "C" __global__ void atomics(float* f, double* d, unsigned* u, unsigned long long* q, int* s) {
  int t = threadIdx.x;
  __shared__ int sum;
  if (t == 0) sum = 0;
  __syncthreads();
  atomicAdd(f, 0.5f); atomicAdd(d, 0.25); atomicMax(u, t * 3); atomicInc(u + 1, 7); atomicCAS(u + 2, 0, 5);
  atomicXor(u + 3, 1u << t % 32); atomicAdd(q, 1ull << 33); atomicMin(s, -t); atomicAdd(&sum, 2); atomicOr(u + 4, 1u << t % 32);
  __syncthreads();
  if (t == 0) s[1 + blockIdx.x] = sum;
}
"""


@MODES
def test_atomics(mode):
    f, d, u, q, s = (np.zeros(n, t) for n, t in ((1, "f4"), (1, "f8"), (5, "u4"), (1, "u8"), (4, "i4")))
    done = only_kernel(ATOMICS).launch(3, 128, (f, d, u, q, s), mode=mode)
    assert done.findings == []
    assert (f[0], d[0], q[0]) == (192, 96, 384 << 33)
    assert u.tolist() == [381, 0, 5, 0, 2**32 - 1]
    assert s.tolist() == [-127, 256, 256, 256]


VARIABLES = """
__constant__ float weights[4] = {1, 2, 3, 4};
__device__ int launches = 3;
extern "C" __global__ void variables(const int* index, float* y, double* z) {
  extern __shared__ double roots[];
  float local[8];
  for (int i = 0; i < 8; i++) local[i] = i * weights[i & 3];
  int j = index[threadIdx.x];
  local[j & 7] += 100;
  float sum = 0;
  for (int i = 0; i < 8; i++) sum += local[(i + j) & 7] * (i + 1);
  y[threadIdx.x] = sum + launches;
  roots[threadIdx.x] = sqrt((double)j);
  __syncthreads();
  z[threadIdx.x] = roots[63 - threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) launches++;
}
"""


@MODES
def test_constant_local_dynamic_and_device_memory(mode):
    index = np.random.default_rng(1).integers(0, 50, 64).astype(np.int32)
    y, z = np.zeros(64, np.float32), np.zeros(64)
    module_of.cache_clear()  # its variable counts launches
    for launches in (3, 4):
        done = only_kernel(VARIABLES).launch(1, 64, (index, y, z), shared=512, mode=mode)
        expected = []
        for j in index:
            local = [i * (i % 4 + 1) + 100 * (i == j % 8) for i in range(8)]
            expected.append(sum(local[(i + j) % 8] * (i + 1) for i in range(8)) + launches)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(z, np.sqrt(index[::-1]))
        assert done.findings == []


SHOUT = """
extern "C" __global__ void shout(int* x) {
  if (x[threadIdx.x] == 7) printf("seven %d %s %.3f %lld%%\\n", threadIdx.x, "text", 1.5f, 1ll << 40);
  x[threadIdx.x] *= 2;
}
"""


@MODES
def test_printf(mode):
    x = np.arange(32, dtype=np.int32)
    assert only_kernel(SHOUT).launch(1, 32, (x,), mode=mode).printed == "seven 7 text 1.500 1099511627776%\n"


BARRIERS = """
extern "C" __global__ void barriers(int* x) {
  int t = threadIdx.x;
  int count = __syncthreads_count(t % 3 == 0), all = __syncthreads_and(t < 100), some = __syncthreads_or(t == 77);
  x[t] = count * 100 + all * 10 + some;
}
"""


@MODES
def test_barriers_that_vote(mode):
    x = np.zeros(96, np.int32)
    done = only_kernel(BARRIERS).launch(1, 96, (x,), mode=mode)
    assert (done.findings, set(x.tolist())) == ([], {3211})


NAMED = """
extern "C" __global__ void named(int* x) {
  __shared__ int box[2][64];
  int half = threadIdx.x / 64, t = threadIdx.x % 64;
  box[half][t] = threadIdx.x;
  if (half) asm volatile("bar.sync 1, 64;" ::: "memory"); else asm volatile("bar.sync 2, 64;" ::: "memory");
  x[threadIdx.x] = box[half][63 - t];
}
"""


@MODES
def test_named_barriers_of_half_a_block(mode):
    x = np.zeros(128, np.int32)
    done = only_kernel(NAMED).launch(1, 128, (x,), mode=mode)
    assert done.findings == []
    assert x.tolist() == [*range(63, -1, -1), *range(127, 63, -1)]


def test_overlapping_and_misaligned_arrays_stay_so():
    kernel = only_kernel("""extern "C" __global__ void next(const float* x, float* y, unsigned long long* at) {
      at[0] = (unsigned long long)x; at[1] = (unsigned long long)y; y[threadIdx.x] = x[threadIdx.x] + 1; }""")
    room, at = np.zeros(64, np.float32), np.zeros(2, np.uint64)
    x, y = room[3:35], room[20:52]
    kernel.launch(1, 32, (x, y, at))
    assert [int(a) % 256 for a in at] == [x.ctypes.data % 256, y.ctypes.data % 256]
    assert at[1] - at[0] == 17 * 4


NANS = """extern "C" __global__ void nans(const float* x, const unsigned* y, unsigned* bits) {
  const float zero = x[0], infinite = x[1], payload = x[2];
  bits[0] = __float_as_uint(infinite - infinite) + y[0];
  bits[1] = __float_as_uint(zero * infinite) + y[0];
  bits[2] = __float_as_uint(payload + zero) + y[0];
  bits[3] = (__float_as_uint(sqrtf(zero - 1)) + 0x8000) >> 16;
  bits[4] = __float_as_uint(payload) + y[0];
}"""


@MODES
def test_arithmetic_gives_the_nan_of_a_gpu_and_a_copy_keeps_its_own(mode):
    """Rounding to bfloat16 by adding to the bits turns this NaN into -0: it must be seen here, not on the GPU first."""
    x, bits = np.array([0, 0x7F800000, 0xFFC01234], np.uint32).view(np.float32), np.zeros(5, np.uint32)
    only_kernel(NANS).launch(1, 1, (x, np.zeros(1, np.uint32), bits), mode=mode)
    assert [hex(pattern) for pattern in bits] == ["0x7fffffff", "0x7fffffff", "0x7fffffff", "0x8000", "0xffc01234"]


RELAYED_NAN = """extern "C" __global__ void relayed(const float* x, unsigned* bits) {
  __shared__ float kept[1];
  kept[0] = x[0] * 2;
  __syncthreads();
  bits[0] = (__float_as_uint(kept[0]) + 0x8000) >> 16;
}"""


@MODES
def test_a_nan_of_arithmetic_is_the_same_after_shared_memory(mode):
    x, bits = np.array([np.nan], np.float32), np.zeros(1, np.uint32)
    only_kernel(RELAYED_NAN).launch(1, 1, (x, bits), mode=mode)
    assert hex(bits[0]) == "0x8000"
