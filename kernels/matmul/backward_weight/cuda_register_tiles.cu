// dweight = dy^T * x, a tile of 64 x 64 for each block: kernels/cuda/register_tile.cuh. k, the rows, runs across the memory of
// both matrices, as their tiles in shared memory want it.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// dy (N, O); x (N, C); dweight (O, C).
#include "register_tile.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    backward_weight_register_tiles(const floatX* dy, const floatX* x, floatX* dweight, int rows, int channels, int outputs,
                                   bool accumulate) {
  Sums sums;
  multiply_tile<false, false>(sums, dy, x, outputs, channels, rows);
  for_each_sum(sums, outputs, channels, [&](int row, int column, float sum) {
    floatX& place = dweight[(size_t)row * channels + column];
    place = accumulate ? place + sum : sum;
  });
}
