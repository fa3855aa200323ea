// Dims: N = rows (batch x time), C = channels, G = blocks of the grid, `parts` here.
// dy, dresidual, residual, dx (N, C); weight, dweight, dbias (C); mean, rstd (N); partials (G, 2 C).
#include "layer_norm_backward.cuh"

extern __shared__ float4 sums[];  // for each warp: dweight, then dbias, over its rows

extern "C" __global__ void
    residual_layer_norm_backward_warps(const floatX* dy, const floatX* dresidual, const floatX* residual, const floatX* weight,
                                       const float* mean, const float* rstd, floatX* dx, float* partials, long long rows,
                                       int channels) {
  float* all = reinterpret_cast<float*>(sums);
  differentiate_rows_by_warps<true>(dy, dresidual, residual, weight, mean, rstd, dx, partials, rows, channels, all);
}

extern "C" __global__ void
    residual_layer_norm_backward_columns(const float* partials, floatX* dweight, floatX* dbias, int parts, int channels,
                                         bool accumulate) {
  add_partials(partials, dweight, dbias, parts, channels, accumulate);
}
