// Dims: N = rows (batch x time), C = channels.
// x, y (N, C); weight (C); rstd (N).
#include "crucible.cuh"

extern "C" __global__ void rms_norm_naive(const floatX* x, const floatX* weight, floatX* y, float* rstd, long long rows,
                                          int channels, float eps) {
  const long long row = thread_index();
  if (row >= rows) return;
  x += row * channels;
  y += row * channels;

  float squares = 0.0f;
  for (int c = 0; c < channels; ++c) {
    const float value = x[c];
    squares += value * value;
  }
  const float scale = 1.0f / sqrtf(squares / channels + eps);

  for (int c = 0; c < channels; ++c) y[c] = x[c] * scale * weight[c];
  rstd[row] = scale;
}
