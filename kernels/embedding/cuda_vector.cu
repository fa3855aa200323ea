// Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context
// after T, R = V + P, L = T + S.
// tokens (B, T); wte (R, C); wpe (L, C); x (B, T, C).
#include "crucible.cuh"

template <class Packed>
__device__ void add(const floatX* wte, const floatX* wpe, floatX* x) {
  Packed a, b;
  a.load(wte);
  b.load(wpe);
  for (int i = 0; i < Packed::SIZE; ++i) a.v[i] += b.v[i];
  a.store(x);
}

// Rows are cut into packs of 128 bits; the last pack of a row may be shorter.
extern "C" __global__ void embedding_vector(const int* tokens, const floatX* wte, const floatX* wpe, floatX* x,
                                            long long packs, int time, int channels) {
  const long long pack = thread_index();
  if (pack >= packs) return;
  const int each_row = ceil_div(channels, Packed128::SIZE);
  const long long position = pack / each_row;
  const int first = Packed128::SIZE * static_cast<int>(pack % each_row);
  wte += static_cast<long long>(tokens[position]) * channels + first;
  wpe += position % time * channels + first;
  x += position * channels + first;

  if (first + Packed128::SIZE <= channels && aligned16(wte, wpe, x)) {
    add<Packed128>(wte, wpe, x);
  } else {
    for (int i = 0; i < Packed128::SIZE && first + i < channels; ++i) add<Packed1>(wte + i, wpe + i, x + i);
  }
}
