#include "crucible.cuh"

template <class Piece>
__device__ void add(const floatX* x1, const floatX* x2, floatX* y) {
  Piece a, b;
  a.load(x1);
  b.load(x2);
  for (int i = 0; i < Piece::SIZE; ++i) a.v[i] += b.v[i];
  a.store(y);
}

extern "C" __global__ void residual_vector(const floatX* x1, const floatX* x2, floatX* y, long long size) {
  const long long first = Wide::SIZE * thread_index();
  if (first + Wide::SIZE <= size && aligned16(x1, x2, y)) {
    add<Wide>(x1 + first, x2 + first, y + first);
  } else {
    for (long long i = first; i < first + Wide::SIZE && i < size; ++i) add<Single>(x1 + i, x2 + i, y + i);
  }
}
