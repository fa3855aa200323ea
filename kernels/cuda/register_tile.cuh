// A block's 64 x 64 tile of a matrix product, with 8 x 4 sums in the registers of each of 128 threads. All of it is
// float32: bf16 is widened where it is loaded.
#pragma once
#include "crucible.cuh"

// A thread's 8 x 4 sums take 12 factors for 32 multiplications. Two panels of 16 steps of k take 8.5 KB of shared memory.
constexpr int TILE = 64, DEPTH = 16, THREADS = 128, DOWN = 8, ACROSS = 4;
constexpr int STRIDE = TILE + 4;  // keeps rows at multiples of 16 bytes, off the banks of their neighbours

// The sums of one thread: rows 8 * (thread / 16) onward, columns 4 * (thread % 16) onward.
typedef float Sums[DOWN][ACROSS];

// Four bf16 by one 64-bit load.
__device__ __forceinline__ float4 load4(const bf16* from) {
  const uint2 pairs = *reinterpret_cast<const uint2*>(from);
  return {bf16_to_float(pairs.x), bf16_to_float(pairs.x >> 16), bf16_to_float(pairs.y), bf16_to_float(pairs.y >> 16)};
}

// Four neighbours in memory, zeros past `count`; by one load where `aligned`, and `count` is then a multiple of four.
__device__ __forceinline__ float4 load_four(const floatX* from, int count, bool aligned) {
  float4 four = {0.0f, 0.0f, 0.0f, 0.0f};
  if (aligned && count > 0) return load4(from);
  if (count > 3) four.w = from[3];
  if (count > 2) four.z = from[2];
  if (count > 1) four.y = from[1];
  if (count > 0) four.x = from[0];
  return four;
}

__device__ __forceinline__ bool is_aligned(const floatX* matrix, int row_length) {
  return aligned16(matrix) && row_length % 4 == 0;
}

// Fills shared[k][i] from element (first + i, k0 + k) of an operand with `extent` rows and `depth` columns.
// ALONG_K: k runs along its memory, matrix[i * depth + k]; otherwise i does, matrix[k * extent + i].
template <bool ALONG_K>
__device__ __forceinline__ void load_tile(float (&shared)[DEPTH][STRIDE], const floatX* matrix, int extent, int depth,
                                          int first, int k0, bool aligned) {
#pragma unroll
  for (int part = threadIdx.x; part < TILE * DEPTH / 4; part += THREADS) {
    if (ALONG_K) {
      int i = part / (DEPTH / 4), k = part % (DEPTH / 4) * 4;
      int count = first + i < extent ? depth - k0 - k : 0;
      float4 four = load_four(matrix + (size_t)(first + i) * depth + k0 + k, count, aligned);
      shared[k][i] = four.x;
      shared[k + 1][i] = four.y;
      shared[k + 2][i] = four.z;
      shared[k + 3][i] = four.w;
    } else {
      int k = part / (TILE / 4), i = part % (TILE / 4) * 4;
      int count = k0 + k < depth ? extent - first - i : 0;
      float4 four = load_four(matrix + (size_t)(k0 + k) * extent + first + i, count, aligned);
      store4(&shared[k][i], four);
    }
  }
}

// Adds 8 x 4 products for each k: twelve numbers come from shared memory, by three 128-bit loads, for 32 multiplications.
__device__ __forceinline__ void add_products(Sums& sums, const float (&a)[DEPTH][STRIDE], const float (&b)[DEPTH][STRIDE]) {
  const int down = threadIdx.x / (TILE / ACROSS) * DOWN, across = threadIdx.x % (TILE / ACROSS) * ACROSS;
#pragma unroll
  for (int k = 0; k < DEPTH; ++k) {
    float4 upper = load4(&a[k][down]);
    float4 lower = load4(&a[k][down + 4]);
    float4 right = load4(&b[k][across]);
    float left[DOWN] = {upper.x, upper.y, upper.z, upper.w, lower.x, lower.y, lower.z, lower.w};
#pragma unroll
    for (int i = 0; i < DOWN; ++i) {
      sums[i][0] += left[i] * right.x;
      sums[i][1] += left[i] * right.y;
      sums[i][2] += left[i] * right.z;
      sums[i][3] += left[i] * right.w;
    }
  }
}

// Sums a(i, k) * b(k, j) over k for the tile of this block: blockIdx.y counts tiles down, blockIdx.x across.
template <bool A_ALONG_K, bool B_ALONG_K>
__device__ __forceinline__ void multiply_tile(Sums& sums, const floatX* a, const floatX* b, int rows, int columns, int depth) {
  __shared__ alignas(16) float a_tile[DEPTH][STRIDE], b_tile[DEPTH][STRIDE];
  const bool a_aligned = is_aligned(a, A_ALONG_K ? depth : rows), b_aligned = is_aligned(b, B_ALONG_K ? depth : columns);
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int j = 0; j < ACROSS; ++j) sums[i][j] = 0.0f;
  for (int k0 = 0; k0 < depth; k0 += DEPTH) {
    load_tile<A_ALONG_K>(a_tile, a, rows, depth, blockIdx.y * TILE, k0, a_aligned);
    load_tile<B_ALONG_K>(b_tile, b, columns, depth, blockIdx.x * TILE, k0, b_aligned);
    __syncthreads();
    add_products(sums, a_tile, b_tile);
    __syncthreads();
  }
}

// Calls use(row, column, sum) for each sum of this thread inside the result.
template <class Use>
__device__ __forceinline__ void for_each_sum(const Sums& sums, int rows, int columns, Use use) {
  const int row = blockIdx.y * TILE + threadIdx.x / (TILE / ACROSS) * DOWN;
  const int column = blockIdx.x * TILE + threadIdx.x % (TILE / ACROSS) * ACROSS;
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int j = 0; j < ACROSS; ++j)
      if (row + i < rows && column + j < columns) use(row + i, column + j, sums[i][j]);
}
