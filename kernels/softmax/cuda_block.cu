// Dims: N = rows, C = classes.
// x, y (N, C).
#include "online.cuh"

constexpr int THREADS = 256;  // as in the Python file, which launches the kernel

extern "C" __global__ void __launch_bounds__(THREADS) softmax_block(const float* x, float* y, int classes) {
  __shared__ float2 scratch[THREADS / WARP];
  const long long row = blockIdx.x;
  x += row * classes;
  y += row * classes;
  const int whole = aligned16(x, y) ? classes / 4 * 4 : 0;  // elements that move in packs of four

  Online seen;
  seen.clear();
  for (int c = 4 * threadIdx.x; c < whole; c += 4 * THREADS) {
    const float4 packed = load4(x + c);
    seen.add(packed.x);
    seen.add(packed.y);
    seen.add(packed.z);
    seen.add(packed.w);
  }
  for (int c = whole + threadIdx.x; c < classes; c += THREADS) seen.add(x[c]);
  seen.merge_block(scratch);

  const float largest = seen.largest, factor = 1.0f / seen.total;
  for (int c = 4 * threadIdx.x; c < whole; c += 4 * THREADS) {
    const float4 packed = load4(x + c);
    store4(y + c, make_float4(expf(packed.x - largest) * factor, expf(packed.y - largest) * factor,
                              expf(packed.z - largest) * factor, expf(packed.w - largest) * factor));
  }
  for (int c = whole + threadIdx.x; c < classes; c += THREADS) y[c] = expf(x[c] - largest) * factor;
}
