#include "online.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_online(const float* logits, const int* targets, float* losses, int columns, int vocab_size) {
  __shared__ float2 scratch[THREADS / WARP];
  const long long row = blockIdx.x;
  const float* x = logits + row * columns;
  const int whole = aligned16(x) ? vocab_size / 4 * 4 : 0;  // logits that move in pieces of four

  Online seen;
  seen.clear();
  for (int v = 4 * threadIdx.x; v < whole; v += 4 * THREADS) {
    const float4 piece = load4(x + v);
    seen.add(piece.x);
    seen.add(piece.y);
    seen.add(piece.z);
    seen.add(piece.w);
  }
  for (int v = whole + threadIdx.x; v < vocab_size; v += THREADS) seen.add(x[v]);
  seen.merge_block(scratch);

  if (threadIdx.x == 0) losses[row] = logf(seen.total) + (seen.largest - x[targets[row]]);
}
