// GELU in its tanh form, and its slope: kernels/matmul_gelu/spec.py.
#pragma once

constexpr float GELU_ROOT = 0.7978845608028654f, GELU_CUBIC = 0.044715f;  // sqrt(2 / pi), and the weight of the cube

__device__ __forceinline__ float gelu_tanh(float x) { return tanhf(GELU_ROOT * (x + GELU_CUBIC * x * x * x)); }

__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + gelu_tanh(x)); }

__device__ __forceinline__ float gelu_slope(float x) {
  const float tanh = gelu_tanh(x);
  const float inner = GELU_ROOT * (1.0f + 3.0f * GELU_CUBIC * x * x);
  return 0.5f * (1.0f + tanh) + 0.5f * x * (1.0f - tanh * tanh) * inner;
}
