// pre = x * weight^T + bias and y = gelu(pre), a tile of 64 x 64 for each block: kernels/cuda/mma_tile.cuh.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// x (N, C); weight (O, C); bias (O); pre, y (N, O).
#include "gelu.cuh"
#include "mma_tile.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    matmul_gelu_mma(const float* x, const float* weight, const float* bias, float* pre, float* y, int rows, int channels,
                    int outputs) {
  Sums sums;
  multiply_tile<true, true>(sums, x, weight, rows, outputs, channels);
  for_each_sum(sums, rows, outputs, [&](int row, int column, float sum) {
    const float argument = sum + bias[column];
    pre[(size_t)row * outputs + column] = argument;
    y[(size_t)row * outputs + column] = gelu(argument);
  });
}
