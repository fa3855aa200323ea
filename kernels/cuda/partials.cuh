// The last stage of two: gradients of two parameters out of the sums that blocks kept.
#pragma once

#include "crucible.cuh"

// Adds up `parts` rows of dweight and dbias, side by side, one block for each WARP columns, in one order whatever ran first.
__device__ __forceinline__ void add_partials(const float* partials, floatX* dweight, floatX* dbias, int parts, int channels,
                                             bool accumulate) {
  __shared__ float shares[GROUPS][WARP];
  const int column = blockIdx.x * WARP + threadIdx.x;
  const float sum = column_sum(partials, parts, 2 * channels, column, shares);
  if (threadIdx.y != 0 || column >= 2 * channels) return;
  floatX& gradient = column < channels ? dweight[column] : dbias[column - channels];
  gradient = accumulate ? gradient + sum : sum;
}
