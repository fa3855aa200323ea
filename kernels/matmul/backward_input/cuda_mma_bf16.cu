// dx = dy * weight, a tile of 128 x 64 for each block: kernels/cuda/mma_tile_bf16.cuh. k, the outputs, runs along the memory of
// dy and across that of the weight, which ldmatrix turns.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// dy (N, O); weight (O, C); dx (N, C).
#include "mma_tile_bf16.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    backward_input_mma_bf16(const bf16* dy, const bf16* weight, bf16* dx, int rows, int channels, int outputs) {
  Sums sums;
  multiply_tile<true, false>(sums, dy, weight, rows, channels, outputs);
  for_each_sum(sums, rows, channels, [&](int row, int column, float sum) { dx[(size_t)row * channels + column] = sum; });
}
