#include "partials.cuh"

extern __shared__ float4 sums[];  // for each warp: dweight, then dbias, over its rows

template <class Packed>
__device__ void one_row(const floatX* dy, const floatX* dresidual, const floatX* residual, const floatX* weight, float m,
                        float r, floatX* dx, float* dweight, float* dbias, int channels) {
  const int first = lane_index() * Packed::SIZE, step = WARP * Packed::SIZE;
  Packed d, value, w, gained, shifted, bypass;

  float total = 0.0f, along = 0.0f;
  for (int c = first; c < channels; c += step) {
    d.load(dy + c);
    value.load(residual + c);
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
    value.load(residual + c);
    w.load(weight + c);
    gained.load(dweight + c);
    shifted.load(dbias + c);
    bypass.load(dresidual + c);
    for (int i = 0; i < Packed::SIZE; ++i) {
      const float normed = (value.v[i] - m) * r;
      value.v[i] = bypass.v[i] + (d.v[i] * w.v[i] - total - normed * along) * r;
      gained.v[i] += d.v[i] * normed;
      shifted.v[i] += d.v[i];
    }
    value.store(dx + c);
    gained.store(dweight + c);
    shifted.store(dbias + c);
  }
}

extern "C" __global__ void residual_layer_norm_backward_warps(const floatX* dy, const floatX* dresidual, const floatX* residual,
                                                              const floatX* weight, const float* mean, const float* rstd,
                                                              floatX* dx, float* partials, long long rows, int channels) {
  const int room = ceil_div(channels, 4) * 4;
  float* all = reinterpret_cast<float*>(sums);
  float *dweight = all + warp_index() * 2 * room, *dbias = dweight + room;
  for (int i = threadIdx.x; i < blockDim.x / WARP * 2 * room; i += blockDim.x) all[i] = 0.0f;
  __syncthreads();

  const bool vector = channels % Packed128::SIZE == 0 && aligned16(dy, dresidual, residual, weight, dx);
  for (long long row = thread_index() / WARP; row < rows; row += thread_count() / WARP) {
    const long long start = row * channels;
    if (vector) {
      one_row<Packed128>(dy + start, dresidual + start, residual + start, weight, mean[row], rstd[row], dx + start, dweight, dbias,
                    channels);
    } else {
      one_row<Packed1>(dy + start, dresidual + start, residual + start, weight, mean[row], rstd[row], dx + start, dweight, dbias,
                      channels);
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

extern "C" __global__ void residual_layer_norm_backward_columns(const float* partials, floatX* dweight, floatX* dbias,
                                                                int parts, int channels, bool accumulate) {
  add_partials(partials, dweight, dbias, parts, channels, accumulate);
}
