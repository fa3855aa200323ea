#include "adamw.cuh"

extern "C" __global__ void adamw_vector(const float* grad, float* param, float* m, float* v, long long size, float grad_scale,
                                        float old1, float new1, float old2, float new2, float kept, float rate, float root,
                                        float eps) {
  const Settings settings = {grad_scale, old1, new1, old2, new2, kept, rate, root, eps};
  const long long first = 4 * thread_index();
  if (first + 4 <= size && aligned16(grad, param, m, v)) {
    const float4 gs = load4(grad + first);
    float4 ps = load4(param + first), ms = load4(m + first), vs = load4(v + first);
    update(gs.x, ps.x, ms.x, vs.x, settings);
    update(gs.y, ps.y, ms.y, vs.y, settings);
    update(gs.z, ps.z, ms.z, vs.z, settings);
    update(gs.w, ps.w, ms.w, vs.w, settings);
    store4(param + first, ps);
    store4(m + first, ms);
    store4(v + first, vs);
  } else {
    for (long long k = first; k < first + 4 && k < size; ++k) update(grad[k], param[k], m[k], v[k], settings);
  }
}
