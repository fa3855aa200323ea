// Dims: N = rows (batch x time), C = channels.
// x, y (N, C); weight, bias (C); mean, rstd (N).
#include "crucible.cuh"

extern __shared__ float4 kept[];  // a row for each warp of the block, as it was loaded

template <class Packed>
__device__ void normalise(const floatX* x, const floatX* weight, const floatX* bias, floatX* y, float* mean, float* rstd,
                          int channels, float eps, floatX* row) {
  const int first = lane_index() * Packed::SIZE, step = WARP * Packed::SIZE;
  Packed packed, w, b;

  float total = 0.0f;
  for (int c = first; c < channels; c += step) {
    packed.load(x + c);
    packed.store(row + c);
    for (int i = 0; i < Packed::SIZE; ++i) total += packed.v[i];
  }
  const float m = warp_sum(total) / channels;

  float squares = 0.0f;
  for (int c = first; c < channels; c += step) {
    packed.load(row + c);
    for (int i = 0; i < Packed::SIZE; ++i) squares += (packed.v[i] - m) * (packed.v[i] - m);
  }
  const float r = 1.0f / sqrtf(warp_sum(squares) / channels + eps);

  for (int c = first; c < channels; c += step) {
    packed.load(row + c);
    w.load(weight + c);
    b.load(bias + c);
    for (int i = 0; i < Packed::SIZE; ++i) packed.v[i] = (packed.v[i] - m) * r * w.v[i] + b.v[i];
    packed.store(y + c);
  }
  if (lane_index() == 0) {
    *mean = m;
    *rstd = r;
  }
}

extern "C" __global__ void layer_norm_vector(const floatX* x, const floatX* weight, const floatX* bias, floatX* y, float* mean,
                                             float* rstd, long long rows, int channels, float eps) {
  const long long row = thread_index() / WARP;
  if (row >= rows) return;
  floatX* mine = reinterpret_cast<floatX*>(kept + warp_index() * ceil_div(channels, Packed128::SIZE));
  x += row * channels;
  y += row * channels;
  if (channels % Packed128::SIZE == 0 && aligned16(x, weight, bias, y)) {
    normalise<Packed128>(x, weight, bias, y, mean + row, rstd + row, channels, eps, mine);
  } else {
    normalise<Packed1>(x, weight, bias, y, mean + row, rstd + row, channels, eps, mine);
  }
}
