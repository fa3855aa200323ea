// Dims: K = parameters. grad, param, master, m, v (K).
#include "adamw.cuh"

extern "C" __global__ void adamw_master_naive(const bf16* grad, bf16* param, float* master, float* m, float* v, long long size,
                                              float grad_scale,
                                              float beta1, float one_minus_beta1, float beta2, float one_minus_beta2,
                                              float decay_factor, float step_size, float v_correction, float eps,
                                              unsigned rounding_seed) {
  const HoistedScalars scalars = {
      grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, decay_factor, step_size, v_correction, eps};
  const long long k = thread_index();
  if (k >= size) return;
  update(grad[k], master[k], m[k], v[k], scalars);
  param[k].bits = float_to_bf16_stochastic(master[k], noise(k, hashed(rounding_seed)));
}
