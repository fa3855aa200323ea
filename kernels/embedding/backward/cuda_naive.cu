// Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context
// after T, R = V + P, L = T + S.
// tokens (B, T); dx (B, T, C); dwte (R, C); dwpe (L, C).
#include "crucible.cuh"

extern "C" __global__ void embedding_backward_tokens_naive(const int* tokens, const floatX* dx, floatX* dwte,
                                                           long long positions, int channels, long long size, bool accumulate) {
  const long long i = thread_index();
  if (i >= size) return;
  const long long row = i / channels;
  const int c = i % channels;
  float total = 0.0f;
  for (long long position = 0; position < positions; ++position) {
    if (tokens[position] == row) total += dx[position * channels + c];
  }
  dwte[i] = accumulate ? dwte[i] + total : total;
}

extern "C" __global__ void embedding_backward_positions_naive(const floatX* dx, floatX* dwpe, long long positions, int time,
                                                              int channels, long long size, bool accumulate) {
  const long long i = thread_index();
  if (i >= size) return;
  const long long row = i / channels;
  const int c = i % channels;
  float total = 0.0f;
  for (long long position = row; row < time && position < positions; position += time) {
    total += dx[position * channels + c];
  }
  dwpe[i] = accumulate ? dwpe[i] + total : total;
}
