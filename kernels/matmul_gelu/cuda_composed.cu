// y = gelu(pre), element by element.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// x (N, C); weight (O, C); bias (O); pre, y (N, O).
#include "crucible.cuh"
#include "gelu.cuh"

extern "C" __global__ void gelu_pass(const float* pre, float* y, long long size) {
  for (long long i = thread_index(); i < size; i += thread_count()) y[i] = gelu(pre[i]);
}
