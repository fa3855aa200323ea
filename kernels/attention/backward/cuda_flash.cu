// The gradients of queries, and those of keys and values, from tiles of 32 x 32 pairs. The probabilities follow from the
// log-sum-exp. kernels/cuda/attention_tile.cuh.
// Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
// dy, y (B, T, E); qkv, dqkv (B, T, W); lse (B, H, T).
#include "attention_tile.cuh"

// along = sum(dy * y) for each query: one warp each.
extern "C" __global__ void __launch_bounds__(THREADS)
    attention_backward_along(const floatX* dy, const floatX* y, float* along, int batch, int time, int heads, int size) {
  const long long row = thread_index() / WARP;
  if (row >= (long long)batch * heads * time) return;
  const long long sequence = row / time / heads, head = row / time % heads, query = row % time;
  const long long place = ((sequence * time + query) * heads + head) * size;
  float sum = 0.0f;
  for (int d = lane_index(); d < size; d += WARP) sum += dy[place + d] * y[place + d];
  sum = warp_sum(sum);
  if (lane_index() == 0) along[row] = sum;
}

// Turns a score into its probability p, and dp into the gradient of the score.
__device__ __forceinline__ void differentiate(float& score, float& dp, float lse, float along, float scale) {
  score = expf(score * scale - lse);
  dp = score * (dp - along) * scale;
}

// The gradient of 32 queries: over the keys before them, ds times key.
template <int HEAD>
__device__ __forceinline__ void differentiate_queries(const floatX* dy, const floatX* qkv, const float* lse, const float* along,
                                                      floatX* dqkv, int time, int heads, int size, float scale) {
  __shared__ alignas(16) Rows<HEAD> queries, outputs, others;  // `others` holds values, then keys
  __shared__ alignas(16) Weights weights;
  const int first = (gridDim.x - 1 - blockIdx.x) * TILE;  // the longest rows begin first
  const int head = blockIdx.y % heads, sequence = blockIdx.y / heads, channels = heads * size;
  const long long stride = 3 * channels, start = sequence * time * stride + head * size;
  const floatX* q = qkv + start;
  const floatX* dout = dy + (long long)sequence * time * channels + head * size;
  load_rows(queries, q + first * stride, time - first, size, stride);
  load_rows(outputs, dout + (long long)first * channels, time - first, size, channels);
  Sums<HEAD> sums;
  clear(sums);

  for (int past = 0; past <= first; past += TILE) {
    auto visible = [&](int query, int key) { return first + query < time && past + key <= first + query; };
    Scores scores, dp;
    __syncthreads();
    load_rows(others, q + 2 * channels + past * stride, time - past, size, stride);
    __syncthreads();
    multiply_rows(dp, outputs, others);
    __syncthreads();
    load_rows(others, q + channels + past * stride, time - past, size, stride);
    __syncthreads();
    multiply_rows(scores, queries, others);
#pragma unroll
    for (int i = 0; i < DOWN; ++i)
#pragma unroll
      for (int j = 0; j < ACROSS; ++j) {
        if (!visible(row_of(i), column_of(j))) continue;
        const long long row = (long long)blockIdx.y * time + first + row_of(i);
        differentiate(scores[i][j], dp[i][j], lse[row], along[row], scale);
      }
    share_weights(weights, dp);
    add_rows(sums, weights, others, visible);
  }

#pragma unroll
  for (int i = 0; i < DOWN; ++i) {
    const int query = first + row_of(i);
    if (query < time) write_row(dqkv + start + query * stride, sums, i, size, 1.0f);
  }
}

// The gradients of 32 keys and their values: over the queries after them, ds times query and p times dy.
template <int HEAD>
__device__ __forceinline__ void differentiate_keys(const floatX* dy, const floatX* qkv, const float* lse, const float* along,
                                                   floatX* dqkv, int time, int heads, int size, float scale) {
  __shared__ alignas(16) Rows<HEAD> keys, values, others;  // `others` holds queries, then dy, then queries again
  __shared__ alignas(16) Weights weights;
  const int first = blockIdx.x * TILE;
  const int head = blockIdx.y % heads, sequence = blockIdx.y / heads, channels = heads * size;
  const long long stride = 3 * channels, start = sequence * time * stride + head * size;
  const floatX* q = qkv + start;
  const floatX* dout = dy + (long long)sequence * time * channels + head * size;
  load_rows(keys, q + channels + first * stride, time - first, size, stride);
  load_rows(values, q + 2 * channels + first * stride, time - first, size, stride);
  Sums<HEAD> dkey, dvalue;
  clear(dkey);
  clear(dvalue);

  for (int future = first; future < time; future += TILE) {
    auto visible = [&](int key, int query) { return future + query < time && first + key <= future + query; };
    Scores scores, dp;
    __syncthreads();
    load_rows(others, q + future * stride, time - future, size, stride);
    __syncthreads();
    multiply_rows(scores, keys, others);
    __syncthreads();
    load_rows(others, dout + (long long)future * channels, time - future, size, channels);
    __syncthreads();
    multiply_rows(dp, values, others);
#pragma unroll
    for (int i = 0; i < DOWN; ++i)
#pragma unroll
      for (int j = 0; j < ACROSS; ++j) {
        if (!visible(row_of(i), column_of(j))) continue;
        const long long row = (long long)blockIdx.y * time + future + column_of(j);
        differentiate(scores[i][j], dp[i][j], lse[row], along[row], scale);
      }
    share_weights(weights, scores);
    add_rows(dvalue, weights, others, visible);
    __syncthreads();
    load_rows(others, q + future * stride, time - future, size, stride);
    __syncthreads();
    share_weights(weights, dp);
    add_rows(dkey, weights, others, visible);
  }

#pragma unroll
  for (int i = 0; i < DOWN; ++i) {
    const int key = first + row_of(i);
    if (key >= time) continue;
    write_row(dqkv + start + channels + key * stride, dkey, i, size, 1.0f);
    write_row(dqkv + start + 2 * channels + key * stride, dvalue, i, size, 1.0f);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_backward_queries_32(const floatX* dy, const floatX* qkv, const float* lse, const float* along, floatX* dqkv,
                                  int time, int heads, int size, float scale) {
  differentiate_queries<32>(dy, qkv, lse, along, dqkv, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_backward_keys_32(const floatX* dy, const floatX* qkv, const float* lse, const float* along, floatX* dqkv,
                               int time, int heads, int size, float scale) {
  differentiate_keys<32>(dy, qkv, lse, along, dqkv, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_backward_queries_64(const floatX* dy, const floatX* qkv, const float* lse, const float* along, floatX* dqkv,
                                  int time, int heads, int size, float scale) {
  differentiate_queries<64>(dy, qkv, lse, along, dqkv, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_backward_keys_64(const floatX* dy, const floatX* qkv, const float* lse, const float* along, floatX* dqkv,
                               int time, int heads, int size, float scale) {
  differentiate_keys<64>(dy, qkv, lse, along, dqkv, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_backward_queries_96(const floatX* dy, const floatX* qkv, const float* lse, const float* along, floatX* dqkv,
                                  int time, int heads, int size, float scale) {
  differentiate_queries<96>(dy, qkv, lse, along, dqkv, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_backward_keys_96(const floatX* dy, const floatX* qkv, const float* lse, const float* along, floatX* dqkv,
                               int time, int heads, int size, float scale) {
  differentiate_keys<96>(dy, qkv, lse, along, dqkv, time, heads, size, scale);
}
