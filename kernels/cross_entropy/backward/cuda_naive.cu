// Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
// targets, losses (N); logits (N, W).
#include "crucible.cuh"

extern "C" __global__ void cross_entropy_backward_naive(const int* targets, float* losses, floatX* logits, long long rows,
                                                        int columns, int vocab_size, float scale) {
  const long long row = thread_index();
  if (row >= rows) return;
  floatX* x = logits + row * columns;
  const int target = targets[row];

  float largest = -infinity();
  for (int v = 0; v < vocab_size; ++v) largest = fmaxf(largest, x[v]);
  float total = 0.0f;
  for (int v = 0; v < vocab_size; ++v) total += expf(x[v] - largest);
  losses[row] = logf(total) + (largest - x[target]);

  for (int v = 0; v < vocab_size; ++v) x[v] = (expf(x[v] - largest) / total - (v == target ? 1.0f : 0.0f)) * scale;
  for (int v = vocab_size; v < columns; ++v) x[v] = 0.0f;
}
