// Dims: N = rows (batch x time), C = channels.
// x, y (N, C); weight, bias (C); mean, rstd (N).
#include "crucible.cuh"

extern "C" __global__ void layer_norm_naive(const floatX* x, const floatX* weight, const floatX* bias, floatX* y, float* mean,
                                            float* rstd, long long rows, int channels, float eps) {
  const long long row = thread_index();
  if (row >= rows) return;
  x += row * channels;
  y += row * channels;

  float total = 0.0f;
  for (int c = 0; c < channels; ++c) total += x[c];
  const float m = total / channels;

  float squares = 0.0f;
  for (int c = 0; c < channels; ++c) {
    const float deviation = x[c] - m;
    squares += deviation * deviation;
  }
  const float r = 1.0f / sqrtf(squares / channels + eps);

  for (int c = 0; c < channels; ++c) y[c] = (x[c] - m) * r * weight[c] + bias[c];
  mean[row] = m;
  rstd[row] = r;
}
