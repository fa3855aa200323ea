// y = gelu(pre), element by element.
#include "crucible.cuh"
#include "gelu.cuh"

extern "C" __global__ void gelu_pass(const float* pre, float* y, long long size) {
  for (long long i = thread_index(); i < size; i += thread_count()) y[i] = gelu(pre[i]);
}
