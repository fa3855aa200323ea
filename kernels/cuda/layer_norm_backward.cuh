// The backward pass of layer normalisation, for the op alone and for the op fused with a residual sum.
// RESIDUAL: `dresidual`, the gradient that bypasses the normalisation, is added to dx. Otherwise the pointer is not read.
// Dims: N = rows (batch x time), C = channels, G = blocks of the grid. dy, dresidual, x, dx (N, C); weight (C); mean, rstd (N);
// partials (G, 2 C), the sums of a block for dweight and then for dbias, in float32.
#pragma once

#include "partials.cuh"

// One block for each row at a time. `sums`: shared memory for dweight and dbias over the rows of this block, 2 C floats.
template <bool RESIDUAL, int THREADS>
__device__ __forceinline__ void differentiate_rows(const floatX* dy, const floatX* dresidual, const floatX* x,
                                                   const floatX* weight, const float* mean, const float* rstd, floatX* dx,
                                                   float* partials, long long rows, int channels, float* sums) {
  __shared__ float scratch[THREADS / WARP];
  float *dweight = sums, *dbias = sums + channels;
  for (int c = threadIdx.x; c < channels; c += THREADS) dweight[c] = dbias[c] = 0.0f;

  for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
    const long long start = row * channels;
    const float m = mean[row], r = rstd[row];

    float total = 0.0f, along = 0.0f;
    for (int c = threadIdx.x; c < channels; c += THREADS) {
      const float dnormed = dy[start + c] * weight[c];
      total += dnormed;
      along += dnormed * ((x[start + c] - m) * r);
    }
    total = block_sum(total, scratch) / channels;
    along = block_sum(along, scratch) / channels;

    for (int c = threadIdx.x; c < channels; c += THREADS) {
      const float d = dy[start + c], normed = (x[start + c] - m) * r;
      const float gradient = (d * weight[c] - total - normed * along) * r;
      if constexpr (RESIDUAL) {
        dx[start + c] = dresidual[start + c] + gradient;
      } else {
        dx[start + c] = gradient;
      }
      dweight[c] += d * normed;
      dbias[c] += d;
    }
  }

  partials += static_cast<long long>(blockIdx.x) * 2 * channels;
  for (int c = threadIdx.x; c < channels; c += THREADS) {
    partials[c] = dweight[c];
    partials[channels + c] = dbias[c];
  }
}

// One row by one warp, whose sums `dweight` and `dbias` are in shared memory. A lane moves packs of Packed::SIZE elements.
template <bool RESIDUAL, class Packed>
__device__ __forceinline__ void differentiate_row(const floatX* dy, const floatX* dresidual, const floatX* x,
                                                  const floatX* weight, float m, float r, floatX* dx, float* dweight,
                                                  float* dbias, int channels) {
  const int first = lane_index() * Packed::SIZE, step = WARP * Packed::SIZE;
  Packed d, value, w, gained, shifted, bypass;

  float total = 0.0f, along = 0.0f;
  for (int c = first; c < channels; c += step) {
    d.load(dy + c);
    value.load(x + c);
    w.load(weight + c);
    for (int i = 0; i < Packed::SIZE; ++i) {
      const float dnormed = d.v[i] * w.v[i];
      total += dnormed;
      along += dnormed * ((value.v[i] - m) * r);
    }
  }
  total = warp_sum(total) / channels;
  along = warp_sum(along) / channels;

  for (int c = first; c < channels; c += step) {
    d.load(dy + c);
    value.load(x + c);
    w.load(weight + c);
    gained.load(dweight + c);
    shifted.load(dbias + c);
    if constexpr (RESIDUAL) bypass.load(dresidual + c);
    for (int i = 0; i < Packed::SIZE; ++i) {
      const float normed = (value.v[i] - m) * r;
      const float gradient = (d.v[i] * w.v[i] - total - normed * along) * r;
      if constexpr (RESIDUAL) {
        value.v[i] = bypass.v[i] + gradient;
      } else {
        value.v[i] = gradient;
      }
      gained.v[i] += d.v[i] * normed;
      shifted.v[i] += d.v[i];
    }
    value.store(dx + c);
    gained.store(dweight + c);
    shifted.store(dbias + c);
  }
}

// One warp for each row at a time. `all`: shared memory for dweight and dbias over the rows of each warp, each of C floats
// rounded up to a multiple of four.
template <bool RESIDUAL>
__device__ __forceinline__ void differentiate_rows_by_warps(const floatX* dy, const floatX* dresidual, const floatX* x,
                                                            const floatX* weight, const float* mean, const float* rstd,
                                                            floatX* dx, float* partials, long long rows, int channels,
                                                            float* all) {
  const int room = ceil_div(channels, 4) * 4;
  float *dweight = all + warp_index() * 2 * room, *dbias = dweight + room;
  for (int i = threadIdx.x; i < blockDim.x / WARP * 2 * room; i += blockDim.x) all[i] = 0.0f;
  __syncthreads();

  bool vector = channels % Packed128::SIZE == 0 && aligned16(dy, x, weight, dx);
  if constexpr (RESIDUAL) vector = vector && aligned16(dresidual);
  for (long long row = thread_index() / WARP; row < rows; row += thread_count() / WARP) {
    const long long start = row * channels;
    const floatX* bypass = RESIDUAL ? dresidual + start : nullptr;
    if (vector) {
      differentiate_row<RESIDUAL, Packed128>(dy + start, bypass, x + start, weight, mean[row], rstd[row], dx + start,
                                             dweight, dbias, channels);
    } else {
      differentiate_row<RESIDUAL, Packed1>(dy + start, bypass, x + start, weight, mean[row], rstd[row], dx + start,
                                           dweight, dbias, channels);
    }
  }
  __syncthreads();

  partials += static_cast<long long>(blockIdx.x) * 2 * channels;
  for (int i = threadIdx.x; i < 2 * channels; i += blockDim.x) {
    const float* share = all + (i < channels ? i : i - channels + room);
    float total = 0.0f;
    for (int warp = 0; warp < blockDim.x / WARP; ++warp) total += share[warp * 2 * room];
    partials[i] = total;
  }
}
