#include "online.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_online(const floatX* logits, const int* targets, float* losses, int columns, int vocab_size) {
  __shared__ float2 scratch[THREADS / WARP];
  const long long row = blockIdx.x;
  const floatX* x = logits + row * columns;
  const int whole = aligned16(x) ? vocab_size / Packed128::SIZE * Packed128::SIZE : 0;  // logits that move in packs

  Packed128 packed;
  Online seen;
  seen.clear();
  for (int v = Packed128::SIZE * threadIdx.x; v < whole; v += Packed128::SIZE * THREADS) {
    packed.load(x + v);
    for (int i = 0; i < Packed128::SIZE; ++i) seen.add(packed.v[i]);
  }
  for (int v = whole + threadIdx.x; v < vocab_size; v += THREADS) seen.add(x[v]);
  seen.merge_block(scratch);

  if (threadIdx.x == 0) losses[row] = logf(seen.total) + (seen.largest - x[targets[row]]);
}
