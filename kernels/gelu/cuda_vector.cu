// Dims: N = rows (batch x time), C = channels.
// x, y (N, C).
#include "crucible.cuh"

constexpr float LINEAR = -1.5957691216057308f;  // -2 sqrt(2 / pi)
constexpr float CUBIC = -0.07135481627260025f;  // 0.044715 times as much

template <class Packed>
__device__ void gelu(const floatX* x, floatX* y) {
  Packed packed;
  packed.load(x);
  for (int i = 0; i < Packed::SIZE; ++i) {
    const float value = packed.v[i];
    packed.v[i] = value / (1.0f + expf(value * (LINEAR + CUBIC * value * value)));
  }
  packed.store(y);
}

extern "C" __global__ void gelu_vector(const floatX* x, floatX* y, long long size) {
  const long long first = Packed128::SIZE * thread_index();
  if (first + Packed128::SIZE <= size && aligned16(x, y)) {
    gelu<Packed128>(x + first, y + first);
  } else {
    for (long long i = first; i < first + Packed128::SIZE && i < size; ++i) gelu<Packed1>(x + i, y + i);
  }
}
