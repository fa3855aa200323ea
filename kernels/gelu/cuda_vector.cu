#include "crucible.cuh"

constexpr float LINEAR = -1.5957691216057308f;  // -2 sqrt(2 / pi)
constexpr float CUBIC = -0.07135481627260025f;  // 0.044715 times as much

__device__ float gelu(float x) { return x / (1.0f + expf(x * (LINEAR + CUBIC * x * x))); }

extern "C" __global__ void gelu_vector(const float* x, float* y, long long size) {
  const long long first = 4 * thread_index();
  if (first + 4 <= size && aligned16(x, y)) {
    const float4 v = load4(x + first);
    store4(y + first, make_float4(gelu(v.x), gelu(v.y), gelu(v.z), gelu(v.w)));
  } else {
    for (long long i = first; i < first + 4 && i < size; ++i) y[i] = gelu(x[i]);
  }
}
