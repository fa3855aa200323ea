// Dims: N = rows, C = classes.
// dy, y, dx (N, C).
#include "crucible.cuh"

constexpr int THREADS = 256;  // as in the Python file, which launches the kernel

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax_backward_block(const float* dy, const float* y, float* dx, int classes) {
  __shared__ float scratch[THREADS / WARP];
  const long long start = static_cast<long long>(blockIdx.x) * classes;
  dy += start, y += start, dx += start;
  const int whole = aligned16(dy, y, dx) ? classes / 4 * 4 : 0;  // elements that move in packs of four

  float along = 0.0f;
  for (int c = 4 * threadIdx.x; c < whole; c += 4 * THREADS) {
    const float4 g = load4(dy + c), p = load4(y + c);
    along += (g.x * p.x + g.y * p.y) + (g.z * p.z + g.w * p.w);
  }
  for (int c = whole + threadIdx.x; c < classes; c += THREADS) along += dy[c] * y[c];
  along = block_sum(along, scratch);

  for (int c = 4 * threadIdx.x; c < whole; c += 4 * THREADS) {
    const float4 g = load4(dy + c), p = load4(y + c);
    store4(dx + c, make_float4(p.x * (g.x - along), p.y * (g.y - along), p.z * (g.z - along), p.w * (g.w - along)));
  }
  for (int c = whole + threadIdx.x; c < classes; c += THREADS) dx[c] = y[c] * (dy[c] - along);
}
