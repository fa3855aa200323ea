// Dims: N = rows (batch x time), C = channels.
// x1, x2, residual, y (N, C); weight, bias (C); mean, rstd (N).
#include "crucible.cuh"

extern "C" __global__ void residual_layer_norm_naive(const floatX* x1, const floatX* x2, const floatX* weight,
                                                     const floatX* bias, floatX* residual, floatX* y, float* mean, float* rstd,
                                                     long long rows, int channels, float eps) {
  const long long row = thread_index();
  if (row >= rows) return;
  const long long start = row * channels;

  const auto sum = [=](int c) { return x1[start + c] + x2[start + c]; };  // `residual` may be rounded: it is not read

  float total = 0.0f;
  for (int c = 0; c < channels; ++c) {
    residual[start + c] = sum(c);
    total += sum(c);
  }
  const float m = total / channels;

  float squares = 0.0f;
  for (int c = 0; c < channels; ++c) {
    const float deviation = sum(c) - m;
    squares += deviation * deviation;
  }
  const float r = 1.0f / sqrtf(squares / channels + eps);

  for (int c = 0; c < channels; ++c) y[start + c] = (sum(c) - m) * r * weight[c] + bias[c];
  mean[row] = m;
  rstd[row] = r;
}
