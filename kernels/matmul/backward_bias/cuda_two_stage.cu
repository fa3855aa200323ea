// Dims: N = rows (batch x time), O = output channels.
// dy (N, O); dbias (O).
#include "crucible.cuh"

// A block sums a strip of 32 columns over one chunk of rows: sums[chunk][column].
extern "C" __global__ void column_sums(const floatX* matrix, float* sums, long long rows, int columns, long long chunk) {
  __shared__ float shares[GROUPS][WARP];
  const long long begin = blockIdx.y * chunk;
  const long long length = rows - begin < chunk ? rows - begin : chunk;
  const int column = blockIdx.x * WARP + threadIdx.x;

  const float total = column_sum(matrix + begin * columns, length, columns, column, shares);
  if (threadIdx.y == 0 && column < columns) sums[static_cast<long long>(blockIdx.y) * columns + column] = total;
}

// A block adds up the chunks of its strip.
extern "C" __global__ void chunk_sums(const float* sums, floatX* dbias, int chunks, int columns, bool accumulate) {
  __shared__ float shares[GROUPS][WARP];
  const int column = blockIdx.x * WARP + threadIdx.x;

  const float total = column_sum(sums, chunks, columns, column, shares);
  if (threadIdx.y == 0 && column < columns) dbias[column] = accumulate ? dbias[column] + total : total;
}
