#include "crucible.cuh"

extern "C" __global__ void residual_vector(const float* x1, const float* x2, float* y, long long size) {
  const long long first = 4 * thread_index();
  if (first + 4 <= size && aligned16(x1, x2, y)) {
    const float4 a = load4(x1 + first), b = load4(x2 + first);
    store4(y + first, make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w));
  } else {
    for (long long i = first; i < first + 4 && i < size; ++i) y[i] = x1[i] + x2[i];
  }
}
