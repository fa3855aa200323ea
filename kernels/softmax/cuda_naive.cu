// Dims: N = rows, C = classes.
// x, y (N, C).
#include "crucible.cuh"

extern "C" __global__ void softmax_naive(const float* x, float* y, long long rows, int classes) {
  const long long row = thread_index();
  if (row >= rows) return;
  x += row * classes;
  y += row * classes;

  float largest = -infinity();
  for (int c = 0; c < classes; ++c) largest = fmaxf(largest, x[c]);

  float total = 0.0f;
  for (int c = 0; c < classes; ++c) {
    y[c] = expf(x[c] - largest);
    total += y[c];
  }
  for (int c = 0; c < classes; ++c) y[c] /= total;
}
