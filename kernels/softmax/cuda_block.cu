#include "online.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS) softmax_block(const float* x, float* y, int classes) {
  __shared__ float2 scratch[THREADS / WARP];
  const long long row = blockIdx.x;
  x += row * classes;
  y += row * classes;
  const int whole = aligned16(x, y) ? classes / 4 * 4 : 0;  // elements that move in pieces of four

  Online seen;
  seen.clear();
  for (int c = 4 * threadIdx.x; c < whole; c += 4 * THREADS) {
    const float4 piece = load4(x + c);
    seen.add(piece.x);
    seen.add(piece.y);
    seen.add(piece.z);
    seen.add(piece.w);
  }
  for (int c = whole + threadIdx.x; c < classes; c += THREADS) seen.add(x[c]);
  seen.merge_block(scratch);

  const float largest = seen.largest, factor = 1.0f / seen.total;
  for (int c = 4 * threadIdx.x; c < whole; c += 4 * THREADS) {
    const float4 piece = load4(x + c);
    store4(y + c, make_float4(expf(piece.x - largest) * factor, expf(piece.y - largest) * factor,
                              expf(piece.z - largest) * factor, expf(piece.w - largest) * factor));
  }
  for (int c = whole + threadIdx.x; c < classes; c += THREADS) y[c] = expf(x[c] - largest) * factor;
}
