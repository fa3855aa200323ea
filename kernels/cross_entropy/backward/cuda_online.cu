// Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
// targets, losses (N); logits (N, W).
#include "online.cuh"

constexpr int THREADS = 256;  // as in the Python file, which launches the kernel

extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_backward_online(const int* targets, float* losses, floatX* logits, int columns, int vocab_size, float scale) {
  __shared__ float2 scratch[THREADS / WARP];
  const long long row = blockIdx.x;
  floatX* x = logits + row * columns;
  const int target = targets[row];
  const int whole = aligned16(x) ? vocab_size / Packed128::SIZE * Packed128::SIZE : 0;  // logits that move in packs

  Online seen;
  seen.clear();
  seen.add_share<THREADS>(x, whole, vocab_size);
  const float at_target = x[target];  // read by all before the barriers of the merge, overwritten by one after them
  seen.merge_block(scratch);

  const float largest = seen.largest, inverse = 1.0f / seen.total;
  if (threadIdx.x == 0) losses[row] = logf(seen.total) + (largest - at_target);

  const auto gradient = [=](float logit, int v) {
    return (expf(logit - largest) * inverse - (v == target ? 1.0f : 0.0f)) * scale;
  };
  Packed128 packed;
  for (int v = Packed128::SIZE * threadIdx.x; v < whole; v += Packed128::SIZE * THREADS) {
    packed.load(x + v);
    for (int i = 0; i < Packed128::SIZE; ++i) packed.v[i] = gradient(packed.v[i], v + i);
    packed.store(x + v);
  }
  for (int v = whole + threadIdx.x; v < vocab_size; v += THREADS) x[v] = gradient(x[v], v);
  for (int v = vocab_size + threadIdx.x; v < columns; v += THREADS) x[v] = 0.0f;
}
