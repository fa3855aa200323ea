// Dims: N = rows (batch x time), C = channels.
// x, y (N, C).
#include "crucible.cuh"

constexpr float SLOPE = 0.7978845608028654f;  // sqrt(2 / pi)
constexpr float CUBIC = 0.044715f;

extern "C" __global__ void gelu_naive(const floatX* x, floatX* y, long long size) {
  const long long i = thread_index();
  if (i >= size) return;
  const float value = x[i];
  const float u = SLOPE * (value + CUBIC * value * value * value);
  y[i] = 0.5f * value * (1.0f + tanhf(u));
}
