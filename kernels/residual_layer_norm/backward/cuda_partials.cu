#include "partials.cuh"

constexpr int THREADS = 256;

extern __shared__ float sums[];  // over the rows of this block: dweight of every channel, then dbias

extern "C" __global__ void __launch_bounds__(THREADS)
    residual_layer_norm_backward_rows(const floatX* dy, const floatX* dresidual, const floatX* residual, const floatX* weight,
                                      const float* mean, const float* rstd, floatX* dx, float* partials, long long rows,
                                      int channels) {
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
      along += dnormed * ((residual[start + c] - m) * r);
    }
    total = block_sum(total, scratch) / channels;
    along = block_sum(along, scratch) / channels;

    for (int c = threadIdx.x; c < channels; c += THREADS) {
      const float d = dy[start + c], normed = (residual[start + c] - m) * r;
      dx[start + c] = dresidual[start + c] + (d * weight[c] - total - normed * along) * r;
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

extern "C" __global__ void residual_layer_norm_backward_columns(const float* partials, floatX* dweight, floatX* dbias,
                                                                int parts, int channels, bool accumulate) {
  add_partials(partials, dweight, dbias, parts, channels, accumulate);
}
