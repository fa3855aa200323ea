// Dims: N = rows (batch x time), C = channels.
// x1, x2, residual, y (N, C); weight, bias (C); mean, rstd (N).
#include "crucible.cuh"

extern __shared__ float4 kept[];  // a row for each warp of the block

template <class Packed>
__device__ void fused_row(const floatX* x1, const floatX* x2, const floatX* weight, const floatX* bias, floatX* residual,
                          floatX* y, float* mean, float* rstd, int channels, float eps, float* sums) {
  const int first = lane_index() * Packed::SIZE, step = WARP * Packed::SIZE;
  Packed a, b, sum;

  float total = 0.0f;
  for (int c = first; c < channels; c += step) {
    a.load(x1 + c);
    b.load(x2 + c);
    for (int i = 0; i < Packed::SIZE; ++i) total += sum.v[i] = a.v[i] + b.v[i];
    sum.store(residual + c);
    sum.store(sums + c);
  }
  const float m = warp_sum(total) / channels;

  float squares = 0.0f;
  for (int c = first; c < channels; c += step) {
    sum.load(sums + c);
    for (int i = 0; i < Packed::SIZE; ++i) squares += (sum.v[i] - m) * (sum.v[i] - m);
  }
  const float r = 1.0f / sqrtf(warp_sum(squares) / channels + eps);

  for (int c = first; c < channels; c += step) {
    sum.load(sums + c);
    a.load(weight + c);
    b.load(bias + c);
    for (int i = 0; i < Packed::SIZE; ++i) sum.v[i] = (sum.v[i] - m) * r * a.v[i] + b.v[i];
    sum.store(y + c);
  }
  if (lane_index() == 0) {
    *mean = m;
    *rstd = r;
  }
}

extern "C" __global__ void residual_layer_norm_vector(const floatX* x1, const floatX* x2, const floatX* weight,
                                                      const floatX* bias, floatX* residual, floatX* y, float* mean, float* rstd,
                                                      long long rows, int channels, float eps) {
  const long long row = thread_index() / WARP;
  if (row >= rows) return;
  const long long start = row * channels;
  float* sums = reinterpret_cast<float*>(kept + warp_index() * ceil_div(channels, 4));
  x1 += start, x2 += start, residual += start, y += start;
  if (channels % Packed128::SIZE == 0 && aligned16(x1, x2, weight, bias, residual, y)) {
    fused_row<Packed128>(x1, x2, weight, bias, residual, y, mean + row, rstd + row, channels, eps, sums);
  } else {
    fused_row<Packed1>(x1, x2, weight, bias, residual, y, mean + row, rstd + row, channels, eps, sums);
  }
}
