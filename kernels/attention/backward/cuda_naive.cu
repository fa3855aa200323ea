// Two kernels with two T x T matrices for each head between them: probabilities p, and the gradients of the scores, ds. A row
// of qkv holds the queries of all heads, then their keys, then their values.
// Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
// dy, y (B, T, E); qkv, dqkv (B, T, W); lse (B, H, T).
#include "crucible.cuh"

__device__ float dot(const floatX* a, const floatX* b, int size) {
  float sum = 0.0f;
  for (int d = 0; d < size; ++d) sum += a[d] * b[d];
  return sum;
}

// One thread for each pair of a query and a key that it sees.
extern "C" __global__ void attention_backward_scores(const floatX* dy, const floatX* qkv, const floatX* y, const float* lse,
                                                     float* p, float* ds, int batch, int time, int heads, int size,
                                                     float scale) {
  const long long place = thread_index(), row = place / time;
  const int key = place % time, query = row % time, head = row / time % heads;
  if (row >= (long long)batch * heads * time || key > query) return;
  const long long sequence = row / time / heads, channels = heads * size;
  const floatX* q = qkv + (sequence * time + query) * 3 * channels + head * size;
  const floatX* k = qkv + (sequence * time + key) * 3 * channels + head * size + channels;
  const floatX* v = k + channels;
  const long long output = (sequence * time + query) * channels + head * size;
  p[place] = expf(dot(q, k, size) * scale - lse[row]);
  ds[place] = p[place] * (dot(dy + output, v, size) - dot(dy + output, y + output, size)) * scale;
}

// One thread for each element of dqkv.
extern "C" __global__ void attention_backward_sums(const floatX* dy, const floatX* qkv, const float* p, const float* ds,
                                                   floatX* dqkv, int batch, int time, int heads, int size) {
  const long long channels = heads * size, place = thread_index(), row = place / (3 * channels), sequence = row / time;
  if (row >= (long long)batch * time) return;
  const int channel = place % channels, kind = place / channels % 3, here = row % time;
  const long long head = (sequence * heads + channel / size) * time * time;
  const floatX* q = qkv + sequence * time * 3 * channels + channel;
  const floatX* dout = dy + sequence * time * channels + channel;
  float sum = 0.0f;
  if (kind == 0)
    for (int key = 0; key <= here; ++key) sum += ds[head + (long long)here * time + key] * q[key * 3 * channels + channels];
  if (kind == 1)
    for (int query = here; query < time; ++query) sum += ds[head + (long long)query * time + here] * q[query * 3 * channels];
  if (kind == 2)
    for (int query = here; query < time; ++query) sum += p[head + (long long)query * time + here] * dout[query * channels];
  dqkv[place] = sum;
}
