// The softmax of a row of scores that arrives piece by piece, a share of each piece to every one of LANES neighbouring lanes.
// M. Milakov and N. Gimelshein, arXiv:1805.02867.
#pragma once
#include "crucible.cuh"

__device__ __forceinline__ float not_a_number() { return __uint_as_float(0x7fc00000u); }

// The largest score so far, and this lane's share of the sum of exp(score - largest).
template <int LANES>
struct RunningSoftmax {
  float largest = -infinity(), share = 0.0f;

  // Turns new scores into weights, exp(score - largest); returns the factor by which what was summed with earlier weights
  // shrinks.
  template <int COUNT>
  __device__ __forceinline__ float take_in(float (&scores)[COUNT]) {
    float top = largest;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) top = fmaxf(top, scores[i]);
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2) top = fmaxf(top, __shfl_xor_sync(FULL_WARP, top, distance));
    const float base = top == -infinity() ? 0.0f : top;  // no score so far is finite: all weights are 0
    const float shrink = expf(largest - base);
    share *= shrink;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      scores[i] = expf(scores[i] - base);
      share += scores[i];
    }
    largest = top;
    return shrink;
  }

  // The sum over all lanes: what weighted sums are divided by in the end.
  __device__ __forceinline__ float total() const {
    float sum = share;
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(FULL_WARP, sum, distance);
    return sum;
  }

  // The logarithm of the sum of exp(score), NaN where no score was finite.
  __device__ __forceinline__ float log_sum(float total) const { return total > 0.0f ? largest + logf(total) : not_a_number(); }
};
