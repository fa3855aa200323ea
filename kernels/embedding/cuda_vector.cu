#include "crucible.cuh"

// Rows are cut into pieces of four channels; the last piece of a row may be shorter.
extern "C" __global__ void embedding_vector(const int* tokens, const float* wte, const float* wpe, float* x, long long pieces,
                                            int time, int channels) {
  const long long piece = thread_index();
  if (piece >= pieces) return;
  const int each_row = ceil_div(channels, 4);
  const long long position = piece / each_row;
  const int first = 4 * static_cast<int>(piece % each_row);
  wte += static_cast<long long>(tokens[position]) * channels + first;
  wpe += position % time * channels + first;
  x += position * channels + first;

  if (first + 4 <= channels && aligned16(wte, wpe, x)) {
    const float4 a = load4(wte), b = load4(wpe);
    store4(x, make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w));
  } else {
    for (int i = 0; i < 4 && first + i < channels; ++i) x[i] = wte[i] + wpe[i];
  }
}
