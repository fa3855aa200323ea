#include "crucible.cuh"

extern "C" __global__ void embedding_backward_naive(const int* tokens, const float* dx, float* dwte, float* dwpe, int batch,
                                                    int time, int channels, int token_rows, int position_rows,
                                                    bool accumulate_wte, bool accumulate_wpe) {
  const long long c = thread_index();
  if (c >= channels) return;
  for (int row = 0; !accumulate_wte && row < token_rows; ++row) dwte[row * static_cast<long long>(channels) + c] = 0.0f;
  for (int row = 0; !accumulate_wpe && row < position_rows; ++row) dwpe[row * static_cast<long long>(channels) + c] = 0.0f;

  const long long positions = static_cast<long long>(batch) * time;
  for (long long position = 0; position < positions; ++position) {
    const long long token = tokens[position], t = position % time;
    const float gradient = dx[position * channels + c];
    dwte[token * channels + c] += gradient;
    dwpe[t * channels + c] += gradient;
  }
}
