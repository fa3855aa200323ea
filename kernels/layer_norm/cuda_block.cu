// Dims: N = rows (batch x time), C = channels.
// x, y (N, C); weight, bias (C); mean, rstd (N).
#include "crucible.cuh"

constexpr int THREADS = 256;  // as in the Python file, which launches the kernel

// The sum over the block, in a tree: half of the threads add the other half's values, then a quarter, and so on.
__device__ float tree_sum(float value, float* shares) {
  shares[threadIdx.x] = value;
  for (int half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shares[threadIdx.x] += shares[threadIdx.x + half];
  }
  __syncthreads();
  const float total = shares[0];
  __syncthreads();  // all have read it before `shares` is used again
  return total;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    layer_norm_block(const floatX* x, const floatX* weight, const floatX* bias, floatX* y, float* mean, float* rstd,
                     int channels, float eps) {
  __shared__ float shares[THREADS];
  const long long row = blockIdx.x;
  x += row * channels;
  y += row * channels;

  float total = 0.0f;
  for (int c = threadIdx.x; c < channels; c += THREADS) total += x[c];
  const float m = tree_sum(total, shares) / channels;

  float squares = 0.0f;
  for (int c = threadIdx.x; c < channels; c += THREADS) {
    const float deviation = x[c] - m;
    squares += deviation * deviation;
  }
  const float r = 1.0f / sqrtf(tree_sum(squares, shares) / channels + eps);

  for (int c = threadIdx.x; c < channels; c += THREADS) y[c] = (x[c] - m) * r * weight[c] + bias[c];
  if (threadIdx.x == 0) {
    mean[row] = m;
    rstd[row] = r;
  }
}
