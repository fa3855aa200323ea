// Dims: K = parameters. grad, param, m, v (K).
#include "adamw.cuh"

extern "C" __global__ void adamw_vector(const float* grad, float* param, float* m, float* v, long long size, float grad_scale,
                                        float beta1, float one_minus_beta1, float beta2, float one_minus_beta2,
                                        float decay_factor, float step_size, float v_correction, float eps) {
  const HoistedScalars scalars = {
      grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, decay_factor, step_size, v_correction, eps};
  const long long first = 4 * thread_index();
  if (first + 4 <= size && aligned16(grad, param, m, v)) {
    const float4 gs = load4(grad + first);
    float4 ps = load4(param + first), ms = load4(m + first), vs = load4(v + first);
    update(gs.x, ps.x, ms.x, vs.x, scalars);
    update(gs.y, ps.y, ms.y, vs.y, scalars);
    update(gs.z, ps.z, ms.z, vs.z, scalars);
    update(gs.w, ps.w, ms.w, vs.w, scalars);
    store4(param + first, ps);
    store4(m + first, ms);
    store4(v + first, vs);
  } else {
    for (long long k = first; k < first + 4 && k < size; ++k) update(grad[k], param[k], m[k], v[k], scalars);
  }
}
