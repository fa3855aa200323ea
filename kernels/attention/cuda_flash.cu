// A block computes 32 queries of a head against the keys and values before them, 32 at a time, with a running softmax.
// kernels/cuda/attention_tile.cuh.
// Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
// qkv (B, T, W); y (B, T, E); lse (B, H, T).
#include "attention_tile.cuh"
#include "running_softmax.cuh"

template <int HEAD>
__device__ __forceinline__ void attend(const floatX* qkv, floatX* y, float* lse, int time, int heads, int size, float scale) {
  __shared__ alignas(16) Rows<HEAD> queries, others;  // `others` holds keys, then values
  __shared__ alignas(16) Weights weights;
  const int first = (gridDim.x - 1 - blockIdx.x) * TILE;  // the longest rows begin first
  const int head = blockIdx.y % heads, sequence = blockIdx.y / heads, channels = heads * size;
  const long long stride = 3 * channels;
  const floatX* q = qkv + sequence * time * stride + head * size;
  load_rows(queries, q + first * stride, time - first, size, stride);
  Sums<HEAD> sums;
  clear(sums);
  RunningSoftmax<MEMBERS> softmax[DOWN];

  for (int past = 0; past <= first; past += TILE) {
    auto visible = [&](int query, int key) { return past + key <= first + query; };
    __syncthreads();
    load_rows(others, q + channels + past * stride, time - past, size, stride);
    __syncthreads();
    Scores scores;
    multiply_rows(scores, queries, others);
#pragma unroll
    for (int i = 0; i < DOWN; ++i) {
#pragma unroll
      for (int j = 0; j < ACROSS; ++j) scores[i][j] = visible(row_of(i), column_of(j)) ? scores[i][j] * scale : -infinity();
      const float rescale = softmax[i].update(scores[i]);
#pragma unroll
      for (int part = 0; part < HEAD / 32; ++part) {
        float4& sum = sums.values[i][part];
        sum = {sum.x * rescale, sum.y * rescale, sum.z * rescale, sum.w * rescale};
      }
    }
    share_weights(weights, scores);
    __syncthreads();
    load_rows(others, q + 2 * channels + past * stride, time - past, size, stride);
    __syncthreads();
    add_rows(sums, weights, others, visible);
  }

#pragma unroll
  for (int i = 0; i < DOWN; ++i) {
    const int query = first + row_of(i);
    const float row_sum = softmax[i].row_sum();
    if (query >= time) continue;
    write_row(y + ((long long)sequence * time + query) * channels + head * size, sums, i, size, 1.0f / row_sum);
    if (column_of(0) == 0) lse[(long long)blockIdx.y * time + query] = softmax[i].log_sum(row_sum);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_32(const floatX* qkv, floatX* y, float* lse, int time, int heads, int size, float scale) {
  attend<32>(qkv, y, lse, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_64(const floatX* qkv, floatX* y, float* lse, int time, int heads, int size, float scale) {
  attend<64>(qkv, y, lse, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_96(const floatX* qkv, floatX* y, float* lse, int time, int heads, int size, float scale) {
  attend<96>(qkv, y, lse, time, heads, size, scale);
}
