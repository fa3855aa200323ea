// Dims: N = rows (batch x time), C = channels.
// dy, dx1, dx2 (N, C).
#include "crucible.cuh"

template <class Packed>
__device__ void pass_on(const Packed& gained, floatX* dx, bool accumulate) {
  Packed sum = gained;
  if (accumulate) {
    sum.load(dx);
    for (int i = 0; i < Packed::SIZE; ++i) sum.v[i] += gained.v[i];
  }
  sum.store(dx);
}

template <class Packed>
__device__ void pass_to_both(const floatX* dy, floatX* dx1, floatX* dx2, bool accumulate) {
  Packed gained;
  gained.load(dy);
  pass_on(gained, dx1, accumulate);
  pass_on(gained, dx2, accumulate);
}

extern "C" __global__ void residual_backward_vector(const floatX* dy, floatX* dx1, floatX* dx2, long long size,
                                                    bool accumulate) {
  const long long first = Packed128::SIZE * thread_index();
  if (first + Packed128::SIZE <= size && aligned16(dy, dx1, dx2)) {
    pass_to_both<Packed128>(dy + first, dx1 + first, dx2 + first, accumulate);
  } else {
    for (long long i = first; i < first + Packed128::SIZE && i < size; ++i) {
      pass_to_both<Packed1>(dy + i, dx1 + i, dx2 + i, accumulate);
    }
  }
}
