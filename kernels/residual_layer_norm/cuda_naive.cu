#include "crucible.cuh"

extern "C" __global__ void residual_layer_norm_naive(const float* x1, const float* x2, const float* weight, const float* bias,
                                                     float* residual, float* y, float* mean, float* rstd, long long rows,
                                                     int channels, float eps) {
  const long long row = thread_index();
  if (row >= rows) return;
  const long long start = row * channels;

  float total = 0.0f;
  for (int c = 0; c < channels; ++c) {
    const float sum = x1[start + c] + x2[start + c];
    residual[start + c] = sum;
    total += sum;
  }
  const float m = total / channels;

  float squares = 0.0f;
  for (int c = 0; c < channels; ++c) {
    const float deviation = residual[start + c] - m;
    squares += deviation * deviation;
  }
  const float r = 1.0f / sqrtf(squares / channels + eps);

  for (int c = 0; c < channels; ++c) y[start + c] = (residual[start + c] - m) * r * weight[c] + bias[c];
  mean[row] = m;
  rstd[row] = r;
}
