// The AdamW update of one parameter, and its random bits for stochastic rounding: kernels/adamw/spec.py.
#pragma once

#include "crucible.cuh"

// The scalars that are equal for all parameters, in the order of kernels/adamw/hoisted_scalars.py.
struct HoistedScalars {
  float grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, decay_factor, step_size, v_correction, eps;
};

__device__ __forceinline__ void update(float grad, float& param, float& m, float& v, const HoistedScalars& s) {
  const float g = grad * s.grad_scale;
  m = s.beta1 * m + s.one_minus_beta1 * g;
  v = s.beta2 * v + s.one_minus_beta2 * (g * g);
  param = param * s.decay_factor - s.step_size * (m / (sqrtf(v) * s.v_correction + s.eps));
}

// PCG's output function as a hash (Jarzynski and Olano, 2020): the bits of one element do not depend on other elements.
__device__ __forceinline__ unsigned hashed(unsigned number) {
  const unsigned state = number * 747796405u + 2891336453u;
  const unsigned word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
  return (word >> 22) ^ word;
}
__device__ __forceinline__ unsigned noise(long long index, unsigned start) {
  return hashed(static_cast<unsigned>(index) + start);
}
