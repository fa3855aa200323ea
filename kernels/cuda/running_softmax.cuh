// A softmax whose scores arrive tile by tile. Each of LANES neighbouring lanes gets a share of the scores of a row.
// M. Milakov and N. Gimelshein, arXiv:1805.02867.
#pragma once
#include "crucible.cuh"

__device__ __forceinline__ float not_a_number() { return __uint_as_float(0x7fc00000u); }

// The largest score of the row so far, and this lane's share of the sum of exp(score - row_max), both in float32.
template <int LANES>
struct RunningSoftmax {
  float row_max = -infinity(), share = 0.0f;

  // Turns new scores into weights, exp(score - row_max), and returns the factor that rescales sums with earlier weights.
  template <int COUNT>
  __device__ __forceinline__ float update(float (&scores)[COUNT]) {
    float new_max = row_max;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) new_max = fmaxf(new_max, scores[i]);
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2)
      new_max = fmaxf(new_max, __shfl_xor_sync(FULL_WARP, new_max, distance));
    const float base = new_max == -infinity() ? 0.0f : new_max;  // no score so far is finite: all weights are 0
    const float rescale = expf(row_max - base);
    share *= rescale;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      scores[i] = expf(scores[i] - base);
      share += scores[i];
    }
    row_max = new_max;
    return rescale;
  }

  // The sum of the shares of all lanes, by which the weighted sums are divided at the end.
  __device__ __forceinline__ float row_sum() const {
    float sum = share;
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(FULL_WARP, sum, distance);
    return sum;
  }

  // The logarithm of the sum of exp(score), NaN where no score was finite.
  __device__ __forceinline__ float log_sum(float sum) const { return sum > 0.0f ? row_max + logf(sum) : not_a_number(); }
};
