// Dims: K = gradients.
// grad (K); norm (1).
#include "crucible.cuh"

constexpr int THREADS = 256;  // as in the Python file, which launches the kernel

extern "C" __global__ void global_norm_naive(const floatX* grad, float* norm, long long size) {
  __shared__ double shares[THREADS];
  double share = 0.0;
  for (long long k = threadIdx.x; k < size; k += THREADS) {
    const double g = grad[k];
    share += g * g;
  }
  shares[threadIdx.x] = share;
  __syncthreads();

  if (threadIdx.x != 0) return;
  double total = 0.0;
  for (int thread = 0; thread < THREADS; ++thread) total += shares[thread];
  *norm = static_cast<float>(sqrt(total));
}
