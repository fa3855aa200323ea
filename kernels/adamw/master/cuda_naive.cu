#include "adamw.cuh"

extern "C" __global__ void adamw_master_naive(const bf16* grad, bf16* param, float* master, float* m, float* v, long long size,
                                              float grad_scale, float old1, float new1, float old2, float new2, float kept,
                                              float rate, float root, float eps, unsigned chance) {
  const Settings settings = {grad_scale, old1, new1, old2, new2, kept, rate, root, eps};
  const long long k = thread_index();
  if (k >= size) return;
  update(grad[k], master[k], m[k], v[k], settings);
  param[k].bits = float_to_bf16_stochastic(master[k], noise(k, hashed(chance)));
}
