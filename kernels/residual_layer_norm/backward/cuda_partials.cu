// Dims: N = rows (batch x time), C = channels, G = blocks of the grid, `parts` here.
// dy, dresidual, residual, dx (N, C); weight, dweight, dbias (C); mean, rstd (N); partials (G, 2 C).
#include "layer_norm_backward.cuh"

constexpr int THREADS = 256;  // as in the Python file, which launches the kernel

extern __shared__ float sums[];  // over the rows of this block: dweight of every channel, then dbias

extern "C" __global__ void __launch_bounds__(THREADS)
    residual_layer_norm_backward_rows(const floatX* dy, const floatX* dresidual, const floatX* residual, const floatX* weight,
                                      const float* mean, const float* rstd, floatX* dx, float* partials, long long rows,
                                      int channels) {
  differentiate_rows<true, THREADS>(dy, dresidual, residual, weight, mean, rstd, dx, partials, rows, channels, sums);
}

extern "C" __global__ void
    residual_layer_norm_backward_columns(const float* partials, floatX* dweight, floatX* dbias, int parts, int channels,
                                         bool accumulate) {
  add_partials(partials, dweight, dbias, parts, channels, accumulate);
}
