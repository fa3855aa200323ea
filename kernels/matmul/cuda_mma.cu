// y = x * weight^T + bias on tensor cores, a tile of 64 x 64 for each block: kernels/cuda/mma_tile.cuh. Along the memory of
// both matrices runs k, so that a pair of neighbours in k is one load.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// x (N, C); weight (O, C); bias (O); y (N, O).
#include "mma_tile.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    matmul_mma(const float* x, const float* weight, const float* bias, float* y, int rows, int channels, int outputs) {
  Sums sums;
  multiply_tile<true, true>(sums, x, weight, rows, outputs, channels);
  for_each_sum(sums, rows, outputs,
               [&](int row, int column, float sum) { y[(size_t)row * outputs + column] = sum + bias[column]; });
}
