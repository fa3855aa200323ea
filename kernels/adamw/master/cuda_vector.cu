#include "adamw.cuh"

// Eight parameters: 16 bytes of gradients and of what is stored, twice 16 of all that is kept in float32.
__device__ void update_eight(const bf16* grad, bf16* param, float* master, float* m, float* v, const Settings& settings,
                             long long first, unsigned start) {
  Wide gs, ms, vs, masters;
  gs.load(grad);
  masters.load(master), ms.load(m), vs.load(v);
  unsigned stored[Wide::SIZE / 2] = {};
#pragma unroll
  for (int i = 0; i < Wide::SIZE; ++i) {
    update(gs.v[i], masters.v[i], ms.v[i], vs.v[i], settings);
    const unsigned bits = float_to_bf16_stochastic(masters.v[i], noise(first + i, start));
    stored[i / 2] |= bits << (i % 2 * 16);
  }
  *reinterpret_cast<uint4*>(param) = make_uint4(stored[0], stored[1], stored[2], stored[3]);
  masters.store(master), ms.store(m), vs.store(v);
}

extern "C" __global__ void adamw_master_vector(const bf16* grad, bf16* param, float* master, float* m, float* v,
                                               long long size, float grad_scale, float old1, float new1, float old2, float new2,
                                               float kept, float rate, float root, float eps, unsigned chance) {
  const Settings settings = {grad_scale, old1, new1, old2, new2, kept, rate, root, eps};
  const long long first = Wide::SIZE * thread_index();
  const unsigned start = hashed(chance);
  if (first + Wide::SIZE <= size && aligned16(grad, param, master, m, v)) {
    update_eight(grad + first, param + first, master + first, m + first, v + first, settings, first, start);
  } else {
    for (long long k = first; k < first + Wide::SIZE && k < size; ++k) {
      update(grad[k], master[k], m[k], v[k], settings);
      param[k].bits = float_to_bf16_stochastic(master[k], noise(k, start));
    }
  }
}
