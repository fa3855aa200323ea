// Attention on tensor cores, whose factors are bf16; only the weights are split, into three: kernels/cuda/flash_mma.cuh.
// Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
// qkv (B, T, W); y (B, T, E); lse (B, H, T).
#include "flash_mma.cuh"

// Returns two bf16, with a zero in place of one that is not finite.
__device__ __forceinline__ unsigned without_infinite(unsigned pair) {
  if ((pair & 0x7f80u) == 0x7f80u) pair &= 0xffff0000u;
  if ((pair & 0x7f800000u) == 0x7f800000u) pair &= 0x0000ffffu;
  return pair;
}

template <int HEAD>
struct MixedProducts {
  unsigned queries[HEAD / 16][4];

  __device__ __forceinline__ void load(const bf16* row, long long stride, int first, int end, int size) {
#pragma unroll
    for (int k = 0; k < HEAD / 16; ++k)
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int i = first + part % 2 * 8, d = 16 * k + lane_index() % 4 * 2 + part / 2 * 8;
        const unsigned low = i < end && d < size ? row[i * stride + d].bits : 0;
        const unsigned high = i < end && d + 1 < size ? row[i * stride + d + 1].bits : 0;
        queries[k][part] = high << 16 | low;
      }
  }

  // 16 keys are read like 16 queries: two right factors, whose registers alternate.
  __device__ __forceinline__ void score(Fragment (&scores)[KEYS / 8], const Rows<bf16, HEAD>& keys) const {
    const int lane = lane_index();
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) scores[j][0] = scores[j][1] = scores[j][2] = scores[j][3] = 0.0f;
#pragma unroll
    for (int k = 0; k < HEAD / 16; ++k)
#pragma unroll
      for (int j = 0; j < KEYS / 8; j += 2) {
        unsigned both[4];
        load_matrices(both, &keys.values[8 * j + lane % 16][16 * k + lane / 16 * 8]);
        multiply_bf16(scores[j], queries[k], {both[0], both[2]});
        multiply_bf16(scores[j + 1], queries[k], {both[1], both[3]});
      }
  }

  // Two neighbouring fragments of weights have the registers of the left factor of a product of depth 16. A fragment of values
  // holds neighbours along k, which are a row apart in memory, so ldmatrix transposes them. A hidden value that is not finite
  // would be multiplied by 0, which gives NaN.
  __device__ __forceinline__ void add(Fragment (&sums)[HEAD / 8], const Fragment (&weights)[KEYS / 8],
                                      const Rows<bf16, HEAD>& values, bool tame) const {
    const int lane = lane_index();
    unsigned big[KEYS / 16][4], middle[KEYS / 16][4], small[KEYS / 16][4];
#pragma unroll
    for (int j = 0; j < KEYS / 16; ++j)
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const float* two = &weights[2 * j + part / 2][part % 2 * 2];
        split_bf16(two[0], two[1], big[j][part], middle[j][part], small[j][part]);
      }
#pragma unroll
    for (int n = 0; n < HEAD / 8; n += 2) {
      Fragment fresh[2] = {};
#pragma unroll
      for (int j = 0; j < KEYS / 16; ++j) {
        unsigned both[4];
        load_transposed(both, &values.values[16 * j + lane % 8 + lane / 16 * 8][8 * n + lane / 8 % 2 * 8]);
        if (!tame)
#pragma unroll
          for (int part = 0; part < 4; ++part) both[part] = without_infinite(both[part]);
#pragma unroll
        for (int which = 0; which < 2; ++which) {
          const unsigned right[2] = {both[which], both[which + 2]};
          multiply_bf16(fresh[which], small[j], right);
          multiply_bf16(fresh[which], middle[j], right);
          multiply_bf16(fresh[which], big[j], right);
        }
      }
#pragma unroll
      for (int which = 0; which < 2; ++which)
#pragma unroll
        for (int part = 0; part < 4; ++part) sums[n + which][part] += fresh[which][part];
    }
  }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_mma_bf16_32(const bf16* qkv, bf16* y, float* lse, int time, int heads, int size, float scale) {
  attend<MixedProducts, 32>(qkv, y, lse, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_mma_bf16_64(const bf16* qkv, bf16* y, float* lse, int time, int heads, int size, float scale) {
  attend<MixedProducts, 64>(qkv, y, lse, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_mma_bf16_96(const bf16* qkv, bf16* y, float* lse, int time, int heads, int size, float scale) {
  attend<MixedProducts, 96>(qkv, y, lse, time, heads, size, scale);
}
