// Dims: N = rows, C = classes.
// dy, y, dx (N, C).
#include "crucible.cuh"

extern "C" __global__ void softmax_backward_naive(const float* dy, const float* y, float* dx, long long rows, int classes) {
  const long long row = thread_index();
  if (row >= rows) return;
  const long long start = row * classes;

  float along = 0.0f;
  for (int c = 0; c < classes; ++c) along += dy[start + c] * y[start + c];
  for (int c = 0; c < classes; ++c) dx[start + c] = y[start + c] * (dy[start + c] - along);
}
