// A block's 64 x 64 tile of a matrix product on tensor cores, at the accuracy of float32: 4 warps of 32 x 32 each.
#pragma once
#include "crucible.cuh"
#include "mma.cuh"

// A thread has 32 sums. Two panels of 16 steps of k for each matrix take 24 KB of shared memory: one is copied, one is used.
constexpr int TILE_ROWS = 64, TILE_COLUMNS = 64, DEPTH = 16, THREADS = 128;
constexpr int WARP_ROWS = 32, WARP_COLUMNS = 32, WARPS_ACROSS = TILE_COLUMNS / WARP_COLUMNS;
constexpr int DOWN = WARP_ROWS / 16, ACROSS = WARP_COLUMNS / 8;  // fragments of a warp

// The sums of one thread: four of each fragment.
typedef float Sums[DOWN][ACROSS][4];

// The layout of an operand in shared memory: that of global memory, as asynchronous copies need. ALONG_K: rows of k, [i][k];
// otherwise rows of i, [k][i]. i goes from 0 to EXTENT. Rows are padded so that the lanes of a warp read from
// different banks.
template <bool ALONG_K, int EXTENT>
struct Panel {
  static constexpr int ROWS = ALONG_K ? EXTENT : DEPTH, LENGTH = ALONG_K ? DEPTH : EXTENT;
  static constexpr int STRIDE = LENGTH + (ALONG_K ? 8 : 4);
  float values[ROWS][STRIDE];
};

__device__ __forceinline__ bool is_aligned(const float* matrix, int row_length) {
  return aligned16(matrix) && row_length % 4 == 0;
}

// Starts copies of a corner of a matrix into a panel; zeros arrive from beyond its end.
template <bool ALONG_K, int EXTENT>
__device__ __forceinline__ void start_copy(Panel<ALONG_K, EXTENT>& panel, const float* matrix, int rows, int row_length,
                                           int first_row, int first_column, bool aligned) {
  const int step = aligned ? 4 : 1, parts = Panel<ALONG_K, EXTENT>::LENGTH / step;
  for (int part = threadIdx.x; part < Panel<ALONG_K, EXTENT>::ROWS * parts; part += THREADS) {
    int i = part / parts, j = part % parts * step;
    bool inside = first_row + i < rows && first_column + j < row_length;
    const float* from = inside ? matrix + (size_t)(first_row + i) * row_length + first_column + j : matrix;
    if (aligned)
      copy_async_16(&panel.values[i][j], from, inside);
    else
      copy_async_4(&panel.values[i][j], from, inside);
  }
}

// Two neighbours along k, at k and k + 1, of row or column i.
template <bool ALONG_K, int EXTENT>
__device__ __forceinline__ float2 read_pair(const Panel<ALONG_K, EXTENT>& panel, int i, int k) {
  // Through a pointer of its own: clang goes by the array's alignment otherwise, and loads two single floats.
  const float2* pair = reinterpret_cast<const float2*>(&panel.values[i][k]);
  if (ALONG_K) return *pair;
  return {panel.values[k][i], panel.values[k + 1][i]};
}

// A fragment of 16 rows or 8 columns, ROWS / 8 * 2 registers: one for each eight of them in the first half of k, then in the
// second.
template <int ROWS>
struct Split {
  unsigned big[ROWS / 4], middle[ROWS / 4], small[ROWS / 4];
};

// Reads the fragment of rows or columns from `first` on.
template <int ROWS, bool ALONG_K, int EXTENT>
__device__ __forceinline__ Split<ROWS> read_fragment(const Panel<ALONG_K, EXTENT>& panel, int first) {
  const int i = first + lane_index() / 4, k = lane_index() % 4 * 2;
  Split<ROWS> fragment;
#pragma unroll
  for (int part = 0; part < ROWS / 4; ++part) {
    const float2 pair = read_pair(panel, i + part % (ROWS / 8) * 8, k + part / (ROWS / 8) * 8);
    split_bf16(pair.x, pair.y, fragment.big[part], fragment.middle[part], fragment.small[part]);
  }
  return fragment;
}

// Adds the products of two panels. They are summed from zero in the tensor cores, whose additions may cut digits off, and
// only then added to the earlier sum, with correct rounding.
template <bool A_ALONG_K, bool B_ALONG_K>
__device__ __forceinline__ void add_products(Sums& sums, const Panel<A_ALONG_K, TILE_ROWS>& a,
                                             const Panel<B_ALONG_K, TILE_COLUMNS>& b) {
  const int row = warp_index() / WARPS_ACROSS * WARP_ROWS, column = warp_index() % WARPS_ACROSS * WARP_COLUMNS;
  Split<16> left[DOWN];
#pragma unroll
  for (int i = 0; i < DOWN; ++i) left[i] = read_fragment<16>(a, row + 16 * i);
#pragma unroll
  for (int j = 0; j < ACROSS; ++j) {
    const Split<8> right = read_fragment<8>(b, column + 8 * j);
#pragma unroll
    for (int i = 0; i < DOWN; ++i) {
      float fresh[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      multiply_6xbf16(fresh, left[i].big, left[i].middle, left[i].small, right.big, right.middle, right.small);
#pragma unroll
      for (int part = 0; part < 4; ++part) sums[i][j][part] += fresh[part];
    }
  }
}

#include "mma_loop.cuh"  // multiply_tile and for_each_sum
