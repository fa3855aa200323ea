// y = x * weight^T + bias, a tile of 128 x 64 for each block: kernels/cuda/mma_tile_bf16.cuh. Along the memory of both
// matrices runs k, as fragments want it.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// x (N, C); weight (O, C); bias (O); y (N, O).
#include "mma_tile_bf16.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    matmul_mma_bf16(const bf16* x, const bf16* weight, const bf16* bias, bf16* y, int rows, int channels, int outputs) {
  Sums sums;
  multiply_tile<true, true>(sums, x, weight, rows, outputs, channels);
  for_each_sum(sums, rows, outputs,
               [&](int row, int column, float sum) { y[(size_t)row * outputs + column] = sum + bias[column]; });
}
