// Dims: K = parameters. grad, param, master, m, v (K).
#include "adamw.cuh"

// Updates as many parameters as 128 bits hold of bfloat16: one load of gradients, two of each float32 array.
__device__ void update_packed(const bf16* grad, bf16* param, float* master, float* m, float* v, const HoistedScalars& scalars,
                              long long first, unsigned start) {
  Packed128 gs, ms, vs, masters;
  gs.load(grad);
  masters.load(master), ms.load(m), vs.load(v);
  unsigned stored[Packed128::SIZE / 2] = {};
#pragma unroll
  for (int i = 0; i < Packed128::SIZE; ++i) {
    update(gs.v[i], masters.v[i], ms.v[i], vs.v[i], scalars);
    const unsigned bits = float_to_bf16_stochastic(masters.v[i], noise(first + i, start));
    stored[i / 2] |= bits << (i % 2 * 16);
  }
  *reinterpret_cast<uint4*>(param) = make_uint4(stored[0], stored[1], stored[2], stored[3]);
  masters.store(master), ms.store(m), vs.store(v);
}

extern "C" __global__ void adamw_master_vector(const bf16* grad, bf16* param, float* master, float* m, float* v, long long size,
                                               float grad_scale,
                                               float beta1, float one_minus_beta1, float beta2, float one_minus_beta2,
                                               float decay_factor, float step_size, float v_correction, float eps,
                                               unsigned rounding_seed) {
  const HoistedScalars scalars = {
      grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, decay_factor, step_size, v_correction, eps};
  const long long first = Packed128::SIZE * thread_index();
  const unsigned start = hashed(rounding_seed);
  if (first + Packed128::SIZE <= size && aligned16(grad, param, master, m, v)) {
    update_packed(grad + first, param + first, master + first, m + first, v + first, scalars, first, start);
  } else {
    for (long long k = first; k < first + Packed128::SIZE && k < size; ++k) {
      update(grad[k], master[k], m[k], v[k], scalars);
      param[k].bits = float_to_bf16_stochastic(master[k], noise(k, start));
    }
  }
}
