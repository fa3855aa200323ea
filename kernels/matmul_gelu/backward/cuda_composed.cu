// dpre = dgelu * gelu'(pre), element by element.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// dy (N, O); weight (O, C); pre, dpre (N, C).
#include "crucible.cuh"
#include "gelu.cuh"

extern "C" __global__ void gelu_slope_pass(const float* dgelu, const float* pre, float* dpre, long long size) {
  for (long long i = thread_index(); i < size; i += thread_count()) dpre[i] = dgelu[i] * gelu_slope(pre[i]);
}
