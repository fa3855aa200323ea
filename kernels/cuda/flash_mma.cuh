// Attention on tensor cores: a block of four warps computes 64 queries of a head, 16 to a warp, against the keys and values
// before them, 32 at a time, with a running softmax. `Products<HEAD>` holds the queries and turns factors into fragments:
//     load(row, stride, first, end, size)  loads rows `first` and `first` + 8, zeros from row `end` and column `size` on
//     score(scores, keys)                  scores = queries * keys^T
//     add(sums, weights, values, tame)     sums += weights * values; unless `tame`, without values that are not finite
// Fragments: kernels/cuda/mma.cuh. HEAD is the size of a head rounded up to 32, 64 or 96.
// Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E. qkv (B, T, W); y (B, T, E); lse (B, H, T).
#pragma once
#include "crucible.cuh"
#include "mma.cuh"
#include "running_softmax.cuh"

// With 64 keys at a time, keys and values of heads of 96 would not fit 48 KB of shared memory, which every GPU gives a block.
constexpr int THREADS = 128, QUERIES = 64, KEYS = 32;

// 32 keys or values, zeros beyond the size of a head. Rows are padded by 16 bytes.
template <class T, int HEAD>
struct Rows {
  static constexpr int STRIDE = HEAD + 16 / sizeof(T);
  T values[KEYS][STRIDE];
};

// A thread's part of a 16 x 8 fragment: two neighbours of row lane / 4, then two of row lane / 4 + 8.
typedef float Fragment[4];

__device__ __forceinline__ bool is_finite(float value) { return fabsf(value) < infinity(); }

// cp.async moves no less than four bytes: a single bf16 is waited for.
__device__ __forceinline__ void copy_one(float* target, const float* source, bool wanted) {
  copy_async_4(target, source, wanted);
}
__device__ __forceinline__ void copy_one(bf16* target, const bf16* source, bool wanted) {
  *target = wanted ? *source : bf16(0.0f);
}

template <class T, int HEAD>
__device__ __forceinline__ void start_copy(Rows<T, HEAD>& rows, const T* from, int count, int size, long long stride,
                                           bool aligned) {
  const int step = aligned ? 16 / sizeof(T) : 1, parts = HEAD / step;
  for (int part = threadIdx.x; part < KEYS * parts; part += THREADS) {
    const int row = part / parts, d = part % parts * step;
    const bool wanted = row < count && d < size;
    const T* source = wanted ? from + row * stride + d : from;
    if (aligned)
      copy_async_16(&rows.values[row][d], source, wanted);
    else
      copy_one(&rows.values[row][d], source, wanted);
  }
  copy_commit();
}

// Adds the values that are not finite, once, wherever they are visible: keys 0 to `seen` to row lane / 4, eight more to the
// other.
template <class T, int HEAD>
__device__ __forceinline__ void add_infinite(Fragment (&sums)[HEAD / 8], const Rows<T, HEAD>& values, int seen) {
#pragma unroll 1
  for (int key = 0; key < KEYS; ++key)
#pragma unroll
    for (int i = 0; i < HEAD / 2; ++i) {
      const float value = values.values[key][i / 4 * 8 + lane_index() % 4 * 2 + i % 2];
      if (!is_finite(value) && key <= seen + i % 4 / 2 * 8) sums[i / 4][i % 4] += value;
    }
}

template <class T, int HEAD>
__device__ __forceinline__ bool all_finite(const Rows<T, HEAD>& rows) {
  bool finite = true;
  for (int i = lane_index(); i < KEYS * HEAD; i += WARP) finite = finite && is_finite(rows.values[i / HEAD][i % HEAD]);
  return __all_sync(FULL_WARP, finite);
}

template <template <int> class Products, int HEAD, class T>
__device__ __forceinline__ void attend(const T* qkv, T* y, float* lse, int time, int heads, int size, float scale) {
  __shared__ alignas(16) Rows<T, HEAD> keys, values;
  const int lane = lane_index(), head = blockIdx.y % heads, sequence = blockIdx.y / heads, channels = heads * size;
  const int first = (gridDim.x - 1 - blockIdx.x) * QUERIES;  // the longest rows begin first
  const int warp_first = first + 16 * warp_index(), mine = warp_first + lane / 4, end = min(time, first + QUERIES);
  const bool aligned = aligned16(qkv) && size % (16 / sizeof(T)) == 0;
  const long long stride = 3 * channels;
  const T* start = qkv + sequence * time * stride + head * size;

  Products<HEAD> products;
  products.load(start, stride, mine, time, size);
  Fragment sums[HEAD / 8] = {};
  RunningSoftmax<4> softmax[2];

  start_copy(keys, start + channels, time, size, stride, aligned);
  for (int past = 0; past < end; past += KEYS) {
    const bool seen = past < warp_first + 16, hidden = past + KEYS > warp_first;  // by this warp; in part
    start_copy(values, start + 2 * channels + past * stride, time - past, size, stride, aligned);
    copy_wait<1>();
    __syncthreads();
    Fragment scores[KEYS / 8];
    if (seen) {
      products.score(scores, keys);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float row[KEYS / 4];
#pragma unroll
        for (int i = 0; i < KEYS / 4; ++i) {
          const bool visible = past + i / 2 * 8 + lane % 4 * 2 + i % 2 <= mine + half * 8;
          row[i] = visible ? scores[i / 2][2 * half + i % 2] * scale : -infinity();
        }
        const float rescale = softmax[half].update(row);
#pragma unroll
        for (int i = 0; i < KEYS / 4; ++i) scores[i / 2][2 * half + i % 2] = row[i];
#pragma unroll
        for (int n = 0; n < HEAD / 8; ++n) {
          sums[n][2 * half] *= rescale;
          sums[n][2 * half + 1] *= rescale;
        }
      }
    }
    __syncthreads();
    start_copy(keys, start + channels + (past + KEYS) * stride, end - past - KEYS, size, stride, aligned);
    copy_wait<1>();
    __syncthreads();
    if (seen) {
      const bool tame = !hidden || all_finite(values);
      products.add(sums, scores, values, tame);
      if (!tame) add_infinite(sums, values, mine - past);
    }
    __syncthreads();
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = mine + 8 * half;
    const float row_sum = softmax[half].row_sum();
    if (query >= time) continue;
    if (lane % 4 == 0) lse[(long long)blockIdx.y * time + query] = softmax[half].log_sum(row_sum);
    T* output = y + ((long long)sequence * time + query) * channels + head * size;
#pragma unroll
    for (int n = 0; n < HEAD / 8; ++n)
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const int d = 8 * n + lane % 4 * 2 + part;
        if (d < size) output[d] = sums[n][2 * half + part] / row_sum;
      }
  }
}
