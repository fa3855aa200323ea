#include "crucible.cuh"

extern "C" __global__ void residual_backward_naive(const float* dy, float* dx1, float* dx2, long long size, bool accumulate) {
  const long long i = thread_index();
  if (i >= size) return;
  dx1[i] = accumulate ? dx1[i] + dy[i] : dy[i];
  dx2[i] = accumulate ? dx2[i] + dy[i] : dy[i];
}
