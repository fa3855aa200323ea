// Dims: N = rows (batch x time), O = output channels.
// dy (N, O); dbias (O).
#include "crucible.cuh"

extern "C" __global__ void matmul_backward_bias_naive(const floatX* dy, floatX* dbias, long long rows, int columns,
                                                      bool accumulate) {
  const long long column = thread_index();
  if (column >= columns) return;
  float total = 0.0f;
  for (long long row = 0; row < rows; ++row) total += dy[row * columns + column];
  dbias[column] = accumulate ? dbias[column] + total : total;
}
