// Attention on tensor cores, whose factors are float32, split into two tf32 each: kernels/cuda/flash_mma.cuh.
// Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
// qkv (B, T, W); y (B, T, E); lse (B, H, T).
#include "flash_mma.cuh"

template <int HEAD>
struct SplitProducts {
  unsigned queries[HEAD / 8][4];  // the bits of float32
  const float* query;             // the first of two rows in memory
  long long next;                 // the distance to the second
  int size;

  __device__ __forceinline__ void load(const float* row, long long stride, int first, int end, int length) {
    query = row + min(first, end - 1) * stride;
    next = first + 8 < end ? 8 * stride : 0;
    size = length;
#pragma unroll
    for (int k = 0; k < HEAD / 8; ++k)
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int i = first + part % 2 * 8, d = 8 * k + lane_index() % 4 + part / 2 * 4;
        queries[k][part] = __float_as_uint(i < end && d < size ? row[i * stride + d] : 0.0f);
      }
  }

  __device__ __forceinline__ void score(Fragment (&scores)[KEYS / 8], const Rows<float, HEAD>& keys) const {
    const int lane = lane_index();
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) scores[j][0] = scores[j][1] = scores[j][2] = scores[j][3] = 0.0f;
#pragma unroll
    for (int k = 0; k < HEAD / 8; ++k) {
      unsigned query_big[4], query_small[4];
      split_fragment(queries[k], query_big, query_small);
#pragma unroll
      for (int j = 0; j < KEYS / 8; ++j) {
        unsigned bits[2], big[2], small[2];
        load_matrices(bits, &keys.values[8 * j + lane % 8][8 * k + lane / 8 % 2 * 4]);
        split_fragment(bits, big, small);
        multiply_3xtf32(scores[j], query_big, query_small, big, small);
      }
    }
    mend(scores, keys);
  }

  // Computes a thread's scores again, by plain sums, if one is not finite: an infinity in two factors loses its sign.
  __device__ __forceinline__ void mend(Fragment (&scores)[KEYS / 8], const Rows<float, HEAD>& keys) const {
    bool finite = true;
#pragma unroll
    for (int i = 0; i < KEYS / 2; ++i) finite = finite && is_finite(scores[i / 4][i % 4]);
    if (finite) return;
#pragma unroll
    for (int i = 0; i < KEYS / 2; ++i) scores[i / 4][i % 4] = 0.0f;
#pragma unroll 1
    for (int d = 0; d < size; ++d)
#pragma unroll
      for (int i = 0; i < KEYS / 2; ++i)
        scores[i / 4][i % 4] += query[i % 4 / 2 * next + d] * keys.values[i / 4 * 8 + lane_index() % 4 * 2 + i % 2][d];
  }

  // Two neighbouring weights of a thread are positions lane % 4 and lane % 4 + 4 of a fragment's depth. So the weights are not
  // rearranged, and the rows of the values are read in the same order. A hidden value that is not finite would be multiplied by
  // 0, which gives NaN.
  __device__ __forceinline__ void add(Fragment (&sums)[HEAD / 8], const Fragment (&weights)[KEYS / 8],
                                      const Rows<float, HEAD>& values, bool tame) const {
    const int lane = lane_index();
    unsigned weight_big[KEYS / 8][4], weight_small[KEYS / 8][4];
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
      const unsigned bits[4] = {__float_as_uint(weights[j][0]), __float_as_uint(weights[j][2]),
                                __float_as_uint(weights[j][1]), __float_as_uint(weights[j][3])};
      split_fragment(bits, weight_big[j], weight_small[j]);
    }
#pragma unroll
    for (int n = 0; n < HEAD / 8; ++n) {
      Fragment fresh = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
      for (int j = 0; j < KEYS / 8; ++j) {
        const float* row = &values.values[8 * j + lane % 4 * 2][8 * n + lane / 4];
        const float upper = row[0], lower = row[values.STRIDE];
        const unsigned bits[2] = {__float_as_uint(tame || is_finite(upper) ? upper : 0.0f),
                                  __float_as_uint(tame || is_finite(lower) ? lower : 0.0f)};
        unsigned big[2], small[2];
        split_fragment(bits, big, small);
        multiply_3xtf32(fresh, weight_big[j], weight_small[j], big, small);
      }
#pragma unroll
      for (int part = 0; part < 4; ++part) sums[n][part] += fresh[part];
    }
  }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_mma_32(const float* qkv, float* y, float* lse, int time, int heads, int size, float scale) {
  attend<SplitProducts, 32>(qkv, y, lse, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_mma_64(const float* qkv, float* y, float* lse, int time, int heads, int size, float scale) {
  attend<SplitProducts, 64>(qkv, y, lse, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_mma_96(const float* qkv, float* y, float* lse, int time, int heads, int size, float scale) {
  attend<SplitProducts, 96>(qkv, y, lse, time, heads, size, scale);
}
