// Dims: N = rows (batch x time), C = channels.
// dy, x, dx (N, C); weight, dweight (C); rstd (N).
#include "crucible.cuh"

extern "C" __global__ void rms_norm_backward_rows_naive(const floatX* dy, const floatX* x, const floatX* weight,
                                                        const float* rstd, floatX* dx, long long rows, int channels) {
  const long long row = thread_index();
  if (row >= rows) return;
  const float scale = rstd[row];
  dy += row * channels;
  x += row * channels;
  dx += row * channels;

  float along = 0.0f;
  for (int c = 0; c < channels; ++c) along += dy[c] * weight[c] * (x[c] * scale);
  along /= channels;
  for (int c = 0; c < channels; ++c) dx[c] = (dy[c] * weight[c] - x[c] * scale * along) * scale;
}

// One thread for each channel.
extern "C" __global__ void rms_norm_backward_channels_naive(const floatX* dy, const floatX* x, const float* rstd,
                                                            floatX* dweight, long long rows, int channels, bool accumulate) {
  const long long c = thread_index();
  if (c >= channels) return;
  float sum = 0.0f;
  for (long long row = 0; row < rows; ++row) sum += dy[row * channels + c] * (x[row * channels + c] * rstd[row]);
  dweight[c] = accumulate ? dweight[c] + sum : sum;
}
