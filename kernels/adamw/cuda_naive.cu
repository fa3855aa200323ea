#include "crucible.cuh"

extern "C" __global__ void adamw_naive(const float* grad, float* param, float* m, float* v, long long size, float grad_scale,
                                       float old1, float new1, float correction1, float old2, float new2, float correction2,
                                       float learning_rate, float eps, float weight_decay) {
  const long long k = thread_index();
  if (k >= size) return;
  const float g = grad[k] * grad_scale;
  m[k] = old1 * m[k] + new1 * g;
  v[k] = old2 * v[k] + new2 * g * g;
  const float direction = m[k] / correction1 / (sqrtf(v[k] / correction2) + eps);
  param[k] = param[k] * (1.0f - learning_rate * weight_decay) - learning_rate * direction;
}
