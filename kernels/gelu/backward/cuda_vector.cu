// Dims: N = rows (batch x time), C = channels.
// dy, x, dx (N, C).
#include "crucible.cuh"

constexpr float LINEAR = 1.5957691216057308f;  // 2 sqrt(2 / pi)
constexpr float CUBIC = 0.07135481627260025f;  // 0.044715 times as much
constexpr float FLAT = 256.0f;  // where |x| is above 16 the derivative is 0 or 1 to the last bit, and x * x * x could overflow

__device__ float derivative(float x) {
  const float size = fabsf(x);
  const float square = size * size > FLAT ? FLAT : size * size;  // NaN stays NaN
  const float e = expf(-size * (LINEAR + CUBIC * square));
  const float upper = 1.0f / (1.0f + e), lower = e * upper;
  const float bump = size * upper * lower * (LINEAR + 3.0f * CUBIC * square);
  return x > 0.0f ? upper + bump : lower - bump;
}

template <class Packed>
__device__ void gelu_backward(const floatX* dy, const floatX* x, floatX* dx) {
  Packed gradient, value;
  gradient.load(dy);
  value.load(x);
  for (int i = 0; i < Packed::SIZE; ++i) gradient.v[i] *= derivative(value.v[i]);
  gradient.store(dx);
}

extern "C" __global__ void gelu_backward_vector(const floatX* dy, const floatX* x, floatX* dx, long long size) {
  const long long first = Packed128::SIZE * thread_index();
  if (first + Packed128::SIZE <= size && aligned16(dy, x, dx)) {
    gelu_backward<Packed128>(dy + first, x + first, dx + first);
  } else {
    for (long long i = first; i < first + Packed128::SIZE && i < size; ++i) gelu_backward<Packed1>(dy + i, x + i, dx + i);
  }
}
