// Dims: N = rows (batch x time), C = channels, G = blocks of the grid.
// dy, x, dx (N, C); weight, dweight (C); rstd (N); partials (G, C).
#include "crucible.cuh"

constexpr int THREADS = 128;  // as in the Python file, which launches the kernel

extern __shared__ float4 sums_C[];  // dweight over the rows of this block

// One row: dy, x, weight and dx (C); dweight (C) holds the sums of the block.
template <class Packed>
__device__ void one_row(const floatX* dy, const floatX* x, const floatX* weight, float scale, floatX* dx, float* dweight,
                        int channels, float* shares) {
  const int first = threadIdx.x * Packed::SIZE, step = THREADS * Packed::SIZE;
  Packed d, value, w, sum;

  float along = 0.0f;
  for (int c = first; c < channels; c += step) {
    d.load(dy + c);
    value.load(x + c);
    w.load(weight + c);
    for (int i = 0; i < Packed::SIZE; ++i) along += d.v[i] * w.v[i] * (value.v[i] * scale);
  }
  along = block_sum(along, shares) / channels;

  for (int c = first; c < channels; c += step) {
    d.load(dy + c);
    value.load(x + c);
    w.load(weight + c);
    sum.load(dweight + c);
    for (int i = 0; i < Packed::SIZE; ++i) {
      const float normed = value.v[i] * scale;
      value.v[i] = (d.v[i] * w.v[i] - normed * along) * scale;
      sum.v[i] += d.v[i] * normed;
    }
    value.store(dx + c);
    sum.store(dweight + c);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    rms_norm_backward_rows(const floatX* dy, const floatX* x, const floatX* weight, const float* rstd, floatX* dx,
                           float* partials, long long rows, int channels) {
  __shared__ float shares[THREADS / WARP];
  float* dweight = reinterpret_cast<float*>(sums_C);
  for (int c = threadIdx.x; c < channels; c += THREADS) dweight[c] = 0.0f;  // added to after the barriers of `block_sum`

  const bool vector = channels % Packed128::SIZE == 0 && aligned16(dy, x, weight, dx);
  for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
    const long long start = row * channels;
    if (vector) {
      one_row<Packed128>(dy + start, x + start, weight, rstd[row], dx + start, dweight, channels, shares);
    } else {
      one_row<Packed1>(dy + start, x + start, weight, rstd[row], dx + start, dweight, channels, shares);
    }
  }
  __syncthreads();

  partials += static_cast<long long>(blockIdx.x) * channels;
  for (int c = threadIdx.x; c < channels; c += THREADS) partials[c] = dweight[c];
}

// partials (G, C), dweight (C). The order of the sum depends on the number of blocks alone.
extern "C" __global__ void rms_norm_backward_columns(const float* partials, floatX* dweight, int blocks, int channels,
                                                     bool accumulate) {
  __shared__ float shares[GROUPS][WARP];
  const int column = blockIdx.x * WARP + threadIdx.x;
  const float sum = column_sum(partials, blocks, channels, column, shares);
  if (threadIdx.y == 0 && column < channels) dweight[column] = accumulate ? dweight[column] + sum : sum;
}
