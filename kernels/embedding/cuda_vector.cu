#include "crucible.cuh"

template <class Piece>
__device__ void add(const floatX* wte, const floatX* wpe, floatX* x) {
  Piece a, b;
  a.load(wte);
  b.load(wpe);
  for (int i = 0; i < Piece::SIZE; ++i) a.v[i] += b.v[i];
  a.store(x);
}

// Rows are cut into pieces of 128 bits; the last piece of a row may be shorter.
extern "C" __global__ void embedding_vector(const int* tokens, const floatX* wte, const floatX* wpe, floatX* x,
                                            long long pieces, int time, int channels) {
  const long long piece = thread_index();
  if (piece >= pieces) return;
  const int each_row = ceil_div(channels, Wide::SIZE);
  const long long position = piece / each_row;
  const int first = Wide::SIZE * static_cast<int>(piece % each_row);
  wte += static_cast<long long>(tokens[position]) * channels + first;
  wpe += position % time * channels + first;
  x += position * channels + first;

  if (first + Wide::SIZE <= channels && aligned16(wte, wpe, x)) {
    add<Wide>(wte, wpe, x);
  } else {
    for (int i = 0; i < Wide::SIZE && first + i < channels; ++i) add<Single>(wte + i, wpe + i, x + i);
  }
}
