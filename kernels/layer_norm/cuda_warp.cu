// Dims: N = rows (batch x time), C = channels.
// x, y (N, C); weight, bias (C); mean, rstd (N).
#include "crucible.cuh"

extern "C" __global__ void layer_norm_warp(const floatX* x, const floatX* weight, const floatX* bias, floatX* y, float* mean,
                                           float* rstd, long long rows, int channels, float eps) {
  const long long row = thread_index() / WARP;
  if (row >= rows) return;
  const int lane = lane_index();
  x += row * channels;
  y += row * channels;

  float total = 0.0f;
  for (int c = lane; c < channels; c += WARP) total += x[c];
  const float m = warp_sum(total) / channels;

  float squares = 0.0f;
  for (int c = lane; c < channels; c += WARP) {
    const float deviation = x[c] - m;
    squares += deviation * deviation;
  }
  const float r = 1.0f / sqrtf(warp_sum(squares) / channels + eps);

  for (int c = lane; c < channels; c += WARP) y[c] = (x[c] - m) * r * weight[c] + bias[c];
  if (lane == 0) {
    mean[row] = m;
    rstd[row] = r;
  }
}
