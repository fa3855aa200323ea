// Dims: N = rows (batch x time), C = channels.
// dy, dx1, dx2 (N, C).
#include "crucible.cuh"

extern "C" __global__ void residual_backward_naive(const floatX* dy, floatX* dx1, floatX* dx2, long long size,
                                                   bool accumulate) {
  const long long i = thread_index();
  if (i >= size) return;
  const float gained = dy[i];
  dx1[i] = accumulate ? dx1[i] + gained : gained;
  dx2[i] = accumulate ? dx2[i] + gained : gained;
}
