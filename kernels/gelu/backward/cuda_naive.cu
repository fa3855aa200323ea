// Dims: N = rows (batch x time), C = channels.
// dy, x, dx (N, C).
#include "crucible.cuh"

constexpr float SLOPE = 0.7978845608028654f;  // sqrt(2 / pi)
constexpr float CUBIC = 0.044715f;

extern "C" __global__ void gelu_backward_naive(const floatX* dy, const floatX* x, floatX* dx, long long size) {
  const long long i = thread_index();
  if (i >= size) return;
  const float value = x[i], square = value * value;
  const float t = tanhf(SLOPE * (value + CUBIC * square * value));
  const float slope = SLOPE * (1.0f + 3.0f * CUBIC * square);
  dx[i] = dy[i] * (0.5f * (1.0f + t) + 0.5f * value * (1.0f - t * t) * slope);
}
