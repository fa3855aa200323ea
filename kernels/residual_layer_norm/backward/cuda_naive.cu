// Dims: N = rows (batch x time), C = channels.
// dy, dresidual, residual, dx (N, C); weight, dweight, dbias (C); mean, rstd (N).
#include "crucible.cuh"

extern "C" __global__ void residual_layer_norm_backward_rows_naive(const floatX* dy, const floatX* dresidual,
                                                                   const floatX* residual, const floatX* weight,
                                                                   const float* mean, const float* rstd, floatX* dx,
                                                                   long long rows, int channels) {
  const long long row = thread_index();
  if (row >= rows) return;
  const long long start = row * channels;
  const float m = mean[row], r = rstd[row];

  float total = 0.0f, along = 0.0f;
  for (int c = 0; c < channels; ++c) {
    const float dnormed = dy[start + c] * weight[c];
    total += dnormed;
    along += dnormed * ((residual[start + c] - m) * r);
  }
  total /= channels;
  along /= channels;
  for (int c = 0; c < channels; ++c) {
    const float normed = (residual[start + c] - m) * r;
    dx[start + c] = dresidual[start + c] + (dy[start + c] * weight[c] - total - normed * along) * r;
  }
}

extern "C" __global__ void residual_layer_norm_backward_channels_naive(const floatX* dy, const floatX* residual,
                                                                       const float* mean, const float* rstd, floatX* dweight,
                                                                       floatX* dbias, long long rows, int channels,
                                                                       bool accumulate) {
  const long long c = thread_index();
  if (c >= channels) return;
  float gained = 0.0f, shifted = 0.0f;
  for (long long row = 0; row < rows; ++row) {
    const float d = dy[row * channels + c];
    gained += d * ((residual[row * channels + c] - mean[row]) * rstd[row]);
    shifted += d;
  }
  dweight[c] = accumulate ? dweight[c] + gained : gained;
  dbias[c] = accumulate ? dbias[c] + shifted : shifted;
}
