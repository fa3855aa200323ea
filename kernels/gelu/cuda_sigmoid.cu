// Dims: N = rows (batch x time), C = channels.
// x, y (N, C).
#include "crucible.cuh"

constexpr float LINEAR = -1.5957691216057308f;  // -2 sqrt(2 / pi)
constexpr float CUBIC = -0.07135481627260025f;  // 0.044715 times as much

extern "C" __global__ void gelu_sigmoid(const floatX* x, floatX* y, long long size) {
  const long long i = thread_index();
  if (i >= size) return;
  const float value = x[i];
  y[i] = value / (1.0f + expf(value * (LINEAR + CUBIC * value * value)));
}
