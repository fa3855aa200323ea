// dweight = dy^T * x, a tile of 128 x 64 for each block: kernels/cuda/mma_tile_bf16.cuh. k, the rows, runs across the memory of
// both matrices, which ldmatrix turns.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// dy (N, O); x (N, C); dweight (O, C).
#include "mma_tile_bf16.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    backward_weight_mma_bf16(const bf16* dy, const bf16* x, bf16* dweight, int rows, int channels, int outputs,
                             bool accumulate) {
  Sums sums;
  multiply_tile<false, false>(sums, dy, x, outputs, channels, rows);
  for_each_sum(sums, outputs, channels, [&](int row, int column, float sum) {
    bf16& place = dweight[(size_t)row * channels + column];
    place = accumulate ? place + sum : sum;
  });
}
