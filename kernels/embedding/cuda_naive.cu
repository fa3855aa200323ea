// Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context
// after T, R = V + P, L = T + S.
// tokens (B, T); wte (R, C); wpe (L, C); x (B, T, C).
#include "crucible.cuh"

extern "C" __global__ void embedding_naive(const int* tokens, const floatX* wte, const floatX* wpe, floatX* x, long long size,
                                           int time, int channels) {
  const long long i = thread_index();
  if (i >= size) return;
  const long long position = i / channels;
  const int c = i % channels, t = position % time;
  const long long token = tokens[position];
  x[i] = wte[token * channels + c] + wpe[static_cast<long long>(t) * channels + c];
}
