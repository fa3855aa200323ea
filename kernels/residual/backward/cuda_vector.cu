#include "crucible.cuh"

__device__ float4 add4(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }

extern "C" __global__ void residual_backward_vector(const float* dy, float* dx1, float* dx2, long long size, bool accumulate) {
  const long long first = 4 * thread_index();
  if (first + 4 <= size && aligned16(dy, dx1, dx2)) {
    const float4 gained = load4(dy + first);
    store4(dx1 + first, accumulate ? add4(load4(dx1 + first), gained) : gained);
    store4(dx2 + first, accumulate ? add4(load4(dx2 + first), gained) : gained);
  } else {
    for (long long i = first; i < first + 4 && i < size; ++i) {
      dx1[i] = accumulate ? dx1[i] + dy[i] : dy[i];
      dx2[i] = accumulate ? dx2[i] + dy[i] : dy[i];
    }
  }
}
