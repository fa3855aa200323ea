// Three kernels with a T x T matrix of scores for each head between them. A row of qkv holds the queries of all heads, then
// their keys, then their values.
// Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
// qkv (B, T, W); y (B, T, E); lse (B, H, T).
#include "crucible.cuh"

// One thread for each pair of a query and a key that it sees.
extern "C" __global__ void attention_scores(const floatX* qkv, float* scores, int batch, int time, int heads, int size,
                                            float scale) {
  const long long place = thread_index(), row = place / time;
  const int key = place % time, query = row % time, head = row / time % heads;
  if (row >= (long long)batch * heads * time || key > query) return;
  const int channels = heads * size;
  const floatX* sequence = qkv + row / time / heads * time * 3 * channels + head * size;
  const floatX* q = sequence + (long long)query * 3 * channels;
  const floatX* k = sequence + (long long)key * 3 * channels + channels;
  float dot = 0.0f;
  for (int d = 0; d < size; ++d) dot += q[d] * k[d];
  scores[place] = dot * scale;
}

// One thread for each row of scores, which becomes probabilities.
extern "C" __global__ void attention_softmax(float* scores, float* lse, int batch, int time, int heads) {
  const long long row = thread_index();
  if (row >= (long long)batch * heads * time) return;
  float* score = scores + row * time;
  const int seen = row % time + 1;
  float largest = -infinity(), total = 0.0f;
  for (int s = 0; s < seen; ++s) largest = fmaxf(largest, score[s]);
  for (int s = 0; s < seen; ++s) {
    score[s] = expf(score[s] - largest);
    total += score[s];
  }
  for (int s = 0; s < seen; ++s) score[s] /= total;
  lse[row] = largest + logf(total);
}

// One thread for each element of y.
extern "C" __global__ void attention_values(const floatX* qkv, const float* scores, floatX* y, int batch, int time, int heads,
                                            int size) {
  const int channels = heads * size;
  const long long place = thread_index(), row = place / channels, sequence = row / time;
  if (row >= (long long)batch * time) return;
  const int channel = place % channels, query = row % time;
  const float* probability = scores + ((sequence * heads + channel / size) * time + query) * time;
  const floatX* value = qkv + sequence * time * 3 * channels + 2 * channels + channel;
  float sum = 0.0f;
  for (int s = 0; s <= query; ++s) sum += probability[s] * value[(long long)s * 3 * channels];
  y[place] = sum;
}
