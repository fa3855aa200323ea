// The AdamW update of one parameter, and the random bits that round it: kernels/adamw/spec.py.
#pragma once

#include "crucible.cuh"

// What is the same for all parameters: the betas and what is left beside them, what decay keeps, the corrected rate.
struct Settings {
  float grad_scale, old1, new1, old2, new2, kept, rate, root, eps;
};

__device__ __forceinline__ void update(float grad, float& param, float& m, float& v, const Settings& s) {
  const float g = grad * s.grad_scale;
  m = s.old1 * m + s.new1 * g;
  v = s.old2 * v + s.new2 * (g * g);
  param = param * s.kept - s.rate * (m / (sqrtf(v) * s.root + s.eps));
}

// PCG's output function as a hash (Jarzynski and Olano, 2020): any place gets its bits without those before it.
__device__ __forceinline__ unsigned hashed(unsigned number) {
  const unsigned state = number * 747796405u + 2891336453u;
  const unsigned word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
  return (word >> 22) ^ word;
}
__device__ __forceinline__ unsigned noise(long long place, unsigned start) { return hashed(static_cast<unsigned>(place) + start); }
