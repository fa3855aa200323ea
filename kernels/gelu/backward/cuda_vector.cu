#include "crucible.cuh"

constexpr float LINEAR = 1.5957691216057308f;  // 2 sqrt(2 / pi)
constexpr float CUBIC = 0.07135481627260025f;  // 0.044715 times as much
constexpr float FLAT = 256.0f;  // where |x| is above 16 the derivative is 0 or 1 to the last bit, and x * x * x could overflow

__device__ float derivative(float x) {
  const float size = fabsf(x);
  const float square = size * size > FLAT ? FLAT : size * size;  // NaN stays NaN
  const float e = expf(-size * (LINEAR + CUBIC * square));
  const float upper = 1.0f / (1.0f + e), lower = e * upper;
  const float bump = size * upper * lower * (LINEAR + 3.0f * CUBIC * square);
  return x > 0.0f ? upper + bump : lower - bump;
}

extern "C" __global__ void gelu_backward_vector(const float* dy, const float* x, float* dx, long long size) {
  const long long first = 4 * thread_index();
  if (first + 4 <= size && aligned16(dy, x, dx)) {
    const float4 g = load4(dy + first), v = load4(x + first);
    store4(dx + first, make_float4(g.x * derivative(v.x), g.y * derivative(v.y), g.z * derivative(v.z), g.w * derivative(v.w)));
  } else {
    for (long long i = first; i < first + 4 && i < size; ++i) dx[i] = dy[i] * derivative(x[i]);
  }
}
