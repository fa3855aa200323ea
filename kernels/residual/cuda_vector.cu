// Dims: N = rows (batch x time), C = channels.
// x1, x2, y (N, C).
#include "crucible.cuh"

template <class Packed>
__device__ void add(const floatX* x1, const floatX* x2, floatX* y) {
  Packed a, b;
  a.load(x1);
  b.load(x2);
  for (int i = 0; i < Packed::SIZE; ++i) a.v[i] += b.v[i];
  a.store(y);
}

extern "C" __global__ void residual_vector(const floatX* x1, const floatX* x2, floatX* y, long long size) {
  const long long first = Packed128::SIZE * thread_index();
  if (first + Packed128::SIZE <= size && aligned16(x1, x2, y)) {
    add<Packed128>(x1 + first, x2 + first, y + first);
  } else {
    for (long long i = first; i < first + Packed128::SIZE && i < size; ++i) add<Packed1>(x1 + i, x2 + i, y + i);
  }
}
