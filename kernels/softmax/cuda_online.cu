// Dims: N = rows, C = classes.
// x, y (N, C).
#include "online.cuh"

extern "C" __global__ void softmax_online(const float* x, float* y, long long rows, int classes) {
  const long long row = thread_index() / WARP;
  if (row >= rows) return;
  x += row * classes;
  y += row * classes;

  Online seen;
  seen.clear();
  for (int c = lane_index(); c < classes; c += WARP) seen.add(x[c]);
  seen.merge_warp();

  const float factor = 1.0f / seen.total;
  for (int c = lane_index(); c < classes; c += WARP) y[c] = expf(x[c] - seen.largest) * factor;
}
