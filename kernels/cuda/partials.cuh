// The second of two stages: the gradients of two parameters from the sums of all blocks.
// Dims: C = channels, G = blocks of the grid, `parts` here. partials (G, 2 C); dweight, dbias (C).
#pragma once

#include "crucible.cuh"

// Adds up `parts` rows, each of dweight and then dbias, with a block for each WARP columns. The order of the sum depends on the
// shape alone.
__device__ __forceinline__ void add_partials(const float* partials, floatX* dweight, floatX* dbias, int parts, int channels,
                                             bool accumulate) {
  __shared__ float shares[GROUPS][WARP];
  const int column = blockIdx.x * WARP + threadIdx.x;
  const float sum = column_sum(partials, parts, 2 * channels, column, shares);
  if (threadIdx.y != 0 || column >= 2 * channels) return;
  floatX& gradient = column < channels ? dweight[column] : dbias[column - channels];
  gradient = accumulate ? gradient + sum : sum;
}
