#include "online.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_backward_online(const int* targets, float* losses, float* logits, int columns, int vocab_size, float scale) {
  __shared__ float2 scratch[THREADS / WARP];
  const long long row = blockIdx.x;
  float* x = logits + row * columns;
  const int target = targets[row];
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
  const float at_target = x[target];  // read by all before the barriers of the merge, overwritten by one after them
  seen.merge_block(scratch);

  const float largest = seen.largest, inverse = 1.0f / seen.total;
  if (threadIdx.x == 0) losses[row] = logf(seen.total) + (largest - at_target);

  const auto gradient = [=](float logit, int v) {
    return (expf(logit - largest) * inverse - (v == target ? 1.0f : 0.0f)) * scale;
  };
  for (int v = 4 * threadIdx.x; v < whole; v += 4 * THREADS) {
    const float4 piece = load4(x + v);
    store4(x + v,
           make_float4(gradient(piece.x, v), gradient(piece.y, v + 1), gradient(piece.z, v + 2), gradient(piece.w, v + 3)));
  }
  for (int v = whole + threadIdx.x; v < vocab_size; v += THREADS) x[v] = gradient(x[v], v);
  for (int v = vocab_size + threadIdx.x; v < columns; v += THREADS) x[v] = 0.0f;
}
