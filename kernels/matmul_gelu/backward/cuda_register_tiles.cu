// dpre = (dy * weight) * gelu'(pre), a tile of 64 x 64 for each block: kernels/cuda/register_tile.cuh.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// dy (N, O); weight (O, C); pre, dpre (N, C).
#include "gelu.cuh"
#include "register_tile.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    matmul_gelu_backward_register_tiles(const floatX* dy, const floatX* weight, const floatX* pre, floatX* dpre, int rows,
                                        int channels, int outputs) {
  Sums sums;
  multiply_tile<true, false>(sums, dy, weight, rows, channels, outputs);
  for_each_sum(sums, rows, channels, [&](int row, int column, float sum) {
    const size_t place = (size_t)row * channels + column;
    dpre[place] = sum * gelu_slope(pre[place]);
  });
}
