#include "crucible.cuh"

constexpr float LINEAR = -1.5957691216057308f;  // -2 sqrt(2 / pi)
constexpr float CUBIC = -0.07135481627260025f;  // 0.044715 times as much

template <class Piece>
__device__ void gelu(const floatX* x, floatX* y) {
  Piece piece;
  piece.load(x);
  for (int i = 0; i < Piece::SIZE; ++i) {
    const float value = piece.v[i];
    piece.v[i] = value / (1.0f + expf(value * (LINEAR + CUBIC * value * value)));
  }
  piece.store(y);
}

extern "C" __global__ void gelu_vector(const floatX* x, floatX* y, long long size) {
  const long long first = Wide::SIZE * thread_index();
  if (first + Wide::SIZE <= size && aligned16(x, y)) {
    gelu<Wide>(x + first, y + first);
  } else {
    for (long long i = first; i < first + Wide::SIZE && i < size; ++i) gelu<Single>(x + i, y + i);
  }
}
