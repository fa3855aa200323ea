// y = x * weight^T + bias, a tile of 64 x 64 for each block: kernels/cuda/register_tile.cuh. Along the memory of both
// matrices runs k.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// x (N, C); weight (O, C); bias (O); y (N, O).
#include "register_tile.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    matmul_register_tiles(const floatX* x, const floatX* weight, const floatX* bias, floatX* y, int rows, int channels,
                          int outputs) {
  Sums sums;
  multiply_tile<true, true>(sums, x, weight, rows, outputs, channels);
  for_each_sum(sums, rows, outputs,
               [&](int row, int column, float sum) { y[(size_t)row * outputs + column] = sum + bias[column]; });
}
