#include "crucible.cuh"

constexpr float SLOPE = 0.7978845608028654f;  // sqrt(2 / pi)
constexpr float CUBIC = 0.044715f;

extern "C" __global__ void gelu_naive(const float* x, float* y, long long size) {
  const long long i = thread_index();
  if (i >= size) return;
  const float u = SLOPE * (x[i] + CUBIC * x[i] * x[i] * x[i]);
  y[i] = 0.5f * x[i] * (1.0f + tanhf(u));
}
