// Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
// logits (N, W); targets, losses (N).
#include "crucible.cuh"

extern "C" __global__ void cross_entropy_naive(const floatX* logits, const int* targets, float* losses, long long rows,
                                               int columns, int vocab_size) {
  const long long row = thread_index();
  if (row >= rows) return;
  const floatX* x = logits + row * columns;

  float largest = -infinity();
  for (int v = 0; v < vocab_size; ++v) largest = fmaxf(largest, x[v]);
  float total = 0.0f;
  for (int v = 0; v < vocab_size; ++v) total += expf(x[v] - largest);
  losses[row] = logf(total) + (largest - x[targets[row]]);
}
