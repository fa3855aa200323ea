// Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context
// after T, R = V + P, L = T + S.
// tokens (B, T); dx (B, T, C); dwte (R, C); dwpe (L, C).
#include "crucible.cuh"

constexpr int EACH = 8;  // channels of a row that a lane adds up at a time

extern "C" __global__ void clear(floatX* table, long long size) {
  const long long i = thread_index();
  if (i < size) table[i] = 0.0f;
}

extern "C" __global__ void embedding_backward_tokens(const int* tokens, const floatX* dx, floatX* dwte, long long positions,
                                                     int channels) {
  const long long position = thread_index() / WARP;
  if (position >= positions) return;
  const int token = tokens[position], lane = lane_index();

  for (long long start = 0; start < position; start += WARP) {
    const long long earlier = start + lane;
    if (__any_sync(FULL_WARP, earlier < position && tokens[earlier] == token)) return;
  }

  floatX* row = dwte + static_cast<long long>(token) * channels;
  for (int begin = 0; begin < channels; begin += WARP * EACH) {
    float sums[EACH] = {};
    for (long long start = position; start < positions; start += WARP) {
      const long long later = start + lane;
      unsigned same = __ballot_sync(FULL_WARP, later < positions && tokens[later] == token);
      for (; same != 0; same &= same - 1) {
        const floatX* gradient = dx + (start + __ffs(same) - 1) * channels;
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
          const int c = begin + i * WARP + lane;
          if (c < channels) sums[i] += gradient[c];
        }
      }
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
      const int c = begin + i * WARP + lane;
      if (c < channels) row[c] = row[c] + sums[i];
    }
  }
}

// `row_size` elements of every sequence have a place in the table; the elements after them are the unused end of the context.
extern "C" __global__ void embedding_backward_positions(const floatX* dx, floatX* dwpe, int batch, long long row_size,
                                                        long long size, bool accumulate) {
  const long long i = thread_index();
  if (i >= size) return;
  float total = 0.0f;
  for (int b = 0; i < row_size && b < batch; ++b) total += dx[b * row_size + i];
  dwpe[i] = accumulate ? dwpe[i] + total : total;
}
