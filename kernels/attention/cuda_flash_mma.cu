// A block of four warps takes 64 queries of a head, 16 to a warp, through the keys and values before them, 32 at a time, with a
// running softmax and both products on tensor cores. Fragments: kernels/cuda/mma.cuh.
#include "crucible.cuh"
#include "mma.cuh"
#include "running_softmax.cuh"

constexpr int THREADS = 128, QUERIES = 64, KEYS = 32;

// 32 keys or values; HEAD is the size of a head rounded up, the rest of a row is zeros.
template <int HEAD>
struct Rows {
  float values[KEYS][HEAD + 4];
};

// What a thread holds of a 16 x 8 fragment: two neighbours of row lane / 4, then two of row lane / 4 + 8.
typedef float Fragment[4];

__device__ __forceinline__ bool is_finite(float value) { return fabsf(value) < infinity(); }

template <int HEAD>
__device__ __forceinline__ void start_copy(Rows<HEAD>& rows, const float* from, int count, int size, long long stride,
                                           bool aligned) {
  const int step = aligned ? 4 : 1, parts = HEAD / step;
  for (int part = threadIdx.x; part < KEYS * parts; part += THREADS) {
    const int row = part / parts, d = part % parts * step;
    const bool wanted = row < count && d < size;
    const float* source = wanted ? from + row * stride + d : from;
    if (aligned)
      copy_async_16(&rows.values[row][d], source, wanted);
    else
      copy_async_4(&rows.values[row][d], source, wanted);
  }
  copy_commit();
}

// scores = queries * keys^T.
template <int HEAD>
__device__ __forceinline__ void score_keys(Fragment (&scores)[KEYS / 8], const unsigned (&queries)[HEAD / 8][4],
                                           const Rows<HEAD>& keys) {
  const int lane = lane_index();
#pragma unroll
  for (int j = 0; j < KEYS / 8; ++j) scores[j][0] = scores[j][1] = scores[j][2] = scores[j][3] = 0.0f;
#pragma unroll
  for (int k = 0; k < HEAD / 8; ++k) {
    unsigned query_big[4], query_small[4];
    split_fragment(queries[k], query_big, query_small);
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
      unsigned bits[2], big[2], small[2];
      load_matrices(bits, &keys.values[8 * j + lane % 8][8 * k + lane / 8 % 2 * 4]);
      split_fragment(bits, big, small);
      multiply_3xtf32(scores[j], query_big, query_small, big, small);
    }
  }
}

// Computes a thread's scores again, by plain sums, if one is not finite: split into two factors, an infinity loses its sign.
// `query` is its first row in memory, `next` the distance to its second.
template <int HEAD>
__device__ __forceinline__ void mend_scores(Fragment (&scores)[KEYS / 8], const float* query, long long next,
                                            const Rows<HEAD>& keys, int size) {
  bool finite = true;
#pragma unroll
  for (int i = 0; i < KEYS / 2; ++i) finite = finite && is_finite(scores[i / 4][i % 4]);
  if (finite) return;
#pragma unroll
  for (int i = 0; i < KEYS / 2; ++i) scores[i / 4][i % 4] = 0.0f;
#pragma unroll 1
  for (int d = 0; d < size; ++d)
#pragma unroll
    for (int i = 0; i < KEYS / 2; ++i)
      scores[i / 4][i % 4] += query[i % 4 / 2 * next + d] * keys.values[i / 4 * 8 + lane_index() % 4 * 2 + i % 2][d];
}

// sums += weights * values, on tensor cores. Two neighbouring weights of a thread count as places lane % 4 and lane % 4 + 4 of
// a fragment's depth, so that it need not be rearranged: the rows of the values are read in the same order. Unless the tile is
// tame, values that are not finite are left out, since a hidden one would be multiplied by 0, which gives NaN.
template <int HEAD>
__device__ __forceinline__ void add_values(Fragment (&sums)[HEAD / 8], const Fragment (&weights)[KEYS / 8],
                                           const Rows<HEAD>& values, bool tame) {
  const int lane = lane_index();
  unsigned weight_big[KEYS / 8][4], weight_small[KEYS / 8][4];
#pragma unroll
  for (int j = 0; j < KEYS / 8; ++j) {
    const unsigned bits[4] = {__float_as_uint(weights[j][0]), __float_as_uint(weights[j][2]), __float_as_uint(weights[j][1]),
                              __float_as_uint(weights[j][3])};
    split_fragment(bits, weight_big[j], weight_small[j]);
  }
#pragma unroll
  for (int n = 0; n < HEAD / 8; ++n) {
    Fragment fresh = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
      const float* row = &values.values[8 * j + lane % 4 * 2][8 * n + lane / 4];
      const float upper = row[0], lower = row[HEAD + 4];
      const unsigned bits[2] = {__float_as_uint(tame || is_finite(upper) ? upper : 0.0f),
                                __float_as_uint(tame || is_finite(lower) ? lower : 0.0f)};
      unsigned big[2], small[2];
      split_fragment(bits, big, small);
      multiply_3xtf32(fresh, weight_big[j], weight_small[j], big, small);
    }
#pragma unroll
    for (int part = 0; part < 4; ++part) sums[n][part] += fresh[part];
  }
}

// Adds the values that are not finite, once, wherever they are visible: keys 0 to `seen` to row lane / 4, eight more to the
// other.
template <int HEAD>
__device__ __forceinline__ void add_infinite(Fragment (&sums)[HEAD / 8], const Rows<HEAD>& values, int seen) {
#pragma unroll 1
  for (int key = 0; key < KEYS; ++key)
#pragma unroll
    for (int i = 0; i < HEAD / 2; ++i) {
      const float value = values.values[key][i / 4 * 8 + lane_index() % 4 * 2 + i % 2];
      if (!is_finite(value) && key <= seen + i % 4 / 2 * 8) sums[i / 4][i % 4] += value;
    }
}

template <int HEAD>
__device__ __forceinline__ bool all_finite(const Rows<HEAD>& rows) {
  bool finite = true;
  for (int i = lane_index(); i < KEYS * HEAD; i += WARP) finite = finite && is_finite(rows.values[i / HEAD][i % HEAD]);
  return __all_sync(FULL_WARP, finite);
}

template <int HEAD>
__device__ __forceinline__ void attend(const float* qkv, float* y, float* lse, int time, int heads, int size, float scale) {
  __shared__ alignas(16) Rows<HEAD> keys, values;
  const int lane = lane_index(), head = blockIdx.y % heads, sequence = blockIdx.y / heads, channels = heads * size;
  const int first = (gridDim.x - 1 - blockIdx.x) * QUERIES;  // the longest rows begin first
  const int warp_first = first + 16 * warp_index(), mine = warp_first + lane / 4, end = min(time, first + QUERIES);
  const bool aligned = aligned16(qkv) && size % 4 == 0;
  const long long stride = 3 * channels;
  const float* start = qkv + sequence * time * stride + head * size;

  unsigned queries[HEAD / 8][4];
#pragma unroll
  for (int k = 0; k < HEAD / 8; ++k)
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const int query = mine + part % 2 * 8, d = 8 * k + lane % 4 + part / 2 * 4;
      queries[k][part] = __float_as_uint(query < time && d < size ? start[query * stride + d] : 0.0f);
    }
  Fragment sums[HEAD / 8] = {};
  RunningSoftmax<4> softmax[2];

  start_copy(keys, start + channels, time, size, stride, aligned);
  for (int past = 0; past < end; past += KEYS) {
    const bool seen = past<warp_first + 16, hidden = past + KEYS> warp_first;  // by this warp; in part
    start_copy(values, start + 2 * channels + past * stride, time - past, size, stride, aligned);
    copy_wait<1>();
    __syncthreads();
    Fragment scores[KEYS / 8];
    if (seen) {
      score_keys(scores, queries, keys);
      mend_scores(scores, start + min(mine, time - 1) * stride, mine + 8 < time ? 8 * stride : 0, keys, size);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float row[KEYS / 4];
#pragma unroll
        for (int i = 0; i < KEYS / 4; ++i) {
          const bool visible = past + i / 2 * 8 + lane % 4 * 2 + i % 2 <= mine + half * 8;
          row[i] = visible ? scores[i / 2][2 * half + i % 2] * scale : -infinity();
        }
        const float shrink = softmax[half].take_in(row);
#pragma unroll
        for (int i = 0; i < KEYS / 4; ++i) scores[i / 2][2 * half + i % 2] = row[i];
#pragma unroll
        for (int n = 0; n < HEAD / 8; ++n) {
          sums[n][2 * half] *= shrink;
          sums[n][2 * half + 1] *= shrink;
        }
      }
    }
    __syncthreads();
    start_copy(keys, start + channels + (past + KEYS) * stride, end - past - KEYS, size, stride, aligned);
    copy_wait<1>();
    __syncthreads();
    if (seen) {
      const bool tame = !hidden || all_finite(values);
      add_values(sums, scores, values, tame);
      if (!tame) add_infinite(sums, values, mine - past);
    }
    __syncthreads();
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = mine + 8 * half;
    const float total = softmax[half].total();
    if (query >= time) continue;
    if (lane % 4 == 0) lse[(long long)blockIdx.y * time + query] = softmax[half].log_sum(total);
    float* output = y + ((long long)sequence * time + query) * channels + head * size;
#pragma unroll
    for (int n = 0; n < HEAD / 8; ++n)
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const int d = 8 * n + lane % 4 * 2 + part;
        if (d < size) output[d] = sums[n][2 * half + part] / total;
      }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_mma_32(const float* qkv, float* y, float* lse, int time, int heads, int size, float scale) {
  attend<32>(qkv, y, lse, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_mma_64(const float* qkv, float* y, float* lse, int time, int heads, int size, float scale) {
  attend<64>(qkv, y, lse, time, heads, size, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_flash_mma_96(const float* qkv, float* y, float* lse, int time, int heads, int size, float scale) {
  attend<96>(qkv, y, lse, time, heads, size, scale);
}
