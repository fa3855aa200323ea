// dpre = (dy * weight) * gelu'(pre), a tile of 128 x 64 for each block: kernels/cuda/mma_tile_bf16.cuh.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// dy (N, O); weight (O, C); pre, dpre (N, C).
#include "gelu.cuh"
#include "mma_tile_bf16.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    matmul_gelu_backward_mma_bf16(const bf16* dy, const bf16* weight, const bf16* pre, bf16* dpre, int rows, int channels,
                                  int outputs) {
  Sums sums;
  multiply_tile<true, false>(sums, dy, weight, rows, channels, outputs);
  for_each_sum(sums, rows, channels, [&](int row, int column, float sum) {
    const size_t place = (size_t)row * channels + column;
    dpre[place] = sum * gelu_slope(pre[place]);
  });
}
