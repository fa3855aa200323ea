// Dims: N = rows (batch x time), C = channels.
// x1, x2, residual, y (N, C); weight, bias (C); mean, rstd (N).
#include "crucible.cuh"

extern __shared__ float kept[];  // a row for each warp of the block

extern "C" __global__ void residual_layer_norm_warp(const floatX* x1, const floatX* x2, const floatX* weight,
                                                    const floatX* bias, floatX* residual, floatX* y, float* mean, float* rstd,
                                                    long long rows, int channels, float eps) {
  const long long row = thread_index() / WARP;
  if (row >= rows) return;
  const int lane = lane_index();
  const long long start = row * channels;
  float* sums = kept + warp_index() * channels;

  float total = 0.0f;
  for (int c = lane; c < channels; c += WARP) {
    const float sum = x1[start + c] + x2[start + c];
    residual[start + c] = sums[c] = sum;
    total += sum;
  }
  const float m = warp_sum(total) / channels;

  float squares = 0.0f;
  for (int c = lane; c < channels; c += WARP) {
    const float deviation = sums[c] - m;
    squares += deviation * deviation;
  }
  const float r = 1.0f / sqrtf(warp_sum(squares) / channels + eps);

  for (int c = lane; c < channels; c += WARP) y[start + c] = (sums[c] - m) * r * weight[c] + bias[c];
  if (lane == 0) {
    mean[row] = m;
    rstd[row] = r;
  }
}
