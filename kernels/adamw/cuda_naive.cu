// Dims: K = parameters. grad, param, m, v (K).
#include "crucible.cuh"

extern "C" __global__ void adamw_naive(const float* grad, float* param, float* m, float* v, long long size, float grad_scale,
                                       float beta1, float one_minus_beta1, float m_correction, float beta2,
                                       float one_minus_beta2, float v_correction, float learning_rate, float eps,
                                       float weight_decay) {
  const long long k = thread_index();
  if (k >= size) return;
  const float g = grad[k] * grad_scale;
  m[k] = beta1 * m[k] + one_minus_beta1 * g;
  v[k] = beta2 * v[k] + one_minus_beta2 * g * g;
  const float direction = m[k] / m_correction / (sqrtf(v[k] / v_correction) + eps);
  param[k] = param[k] * (1.0f - learning_rate * weight_decay) - learning_rate * direction;
}
