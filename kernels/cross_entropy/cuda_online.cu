// Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
// logits (N, W); targets, losses (N).
#include "online.cuh"

constexpr int THREADS = 256;  // as in the Python file, which launches the kernel

extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_online(const floatX* logits, const int* targets, float* losses, int columns, int vocab_size) {
  __shared__ float2 scratch[THREADS / WARP];
  const long long row = blockIdx.x;
  const floatX* x = logits + row * columns;
  const int whole = aligned16(x) ? vocab_size / Packed128::SIZE * Packed128::SIZE : 0;  // logits that move in packs

  Online seen;
  seen.clear();
  seen.add_share<THREADS>(x, whole, vocab_size);
  seen.merge_block(scratch);

  if (threadIdx.x == 0) losses[row] = logf(seen.total) + (seen.largest - x[targets[row]]);
}
