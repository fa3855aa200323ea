// Dims: N = rows (batch x time), C = channels.
// x, y (N, C); weight (C); rstd (N).
#include "crucible.cuh"

constexpr int THREADS = 128;  // as in the Python file, which launches the kernel

extern __shared__ float4 row_C[];  // the block's row of x, as it is stored

// Normalises one row: x, weight and y (C).
template <class Packed>
__device__ float normalise(const floatX* x, const floatX* weight, floatX* y, int channels, float eps, float* shares) {
  const int first = threadIdx.x * Packed::SIZE, step = THREADS * Packed::SIZE;
  floatX* row = reinterpret_cast<floatX*>(row_C);
  Packed value, w;

  float squares = 0.0f;
  for (int c = first; c < channels; c += step) {
    value.load(x + c);
    value.store(row + c);
    for (int i = 0; i < Packed::SIZE; ++i) squares += value.v[i] * value.v[i];
  }
  const float scale = 1.0f / sqrtf(block_sum(squares, shares) / channels + eps);

  for (int c = first; c < channels; c += step) {
    value.load(row + c);
    w.load(weight + c);
    for (int i = 0; i < Packed::SIZE; ++i) value.v[i] = value.v[i] * scale * w.v[i];
    value.store(y + c);
  }
  return scale;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    rms_norm_block(const floatX* x, const floatX* weight, floatX* y, float* rstd, int channels, float eps) {
  __shared__ float shares[THREADS / WARP];
  const long long start = static_cast<long long>(blockIdx.x) * channels;
  const bool vector = channels % Packed128::SIZE == 0 && aligned16(x, weight, y);
  const float scale = vector ? normalise<Packed128>(x + start, weight, y + start, channels, eps, shares)
                             : normalise<Packed1>(x + start, weight, y + start, channels, eps, shares);
  if (threadIdx.x == 0) rstd[blockIdx.x] = scale;
}
