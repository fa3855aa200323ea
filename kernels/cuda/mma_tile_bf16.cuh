// A block's 128 x 64 tile of a product of bf16 matrices on tensor cores: 4 warps of 64 x 32 each.
#pragma once
#include "crucible.cuh"
#include "mma.cuh"

// A thread has 64 sums. Two panels of 32 steps of k for each matrix take 24 KB of shared memory: one is copied, one is used.
constexpr int TILE_ROWS = 128, TILE_COLUMNS = 64, DEPTH = 32, THREADS = 128;
constexpr int WARP_ROWS = 64, WARP_COLUMNS = 32, WARPS_ACROSS = TILE_COLUMNS / WARP_COLUMNS;
constexpr int DOWN = WARP_ROWS / 16, ACROSS = WARP_COLUMNS / 8;  // fragments of a warp
constexpr int STEPS = DEPTH / 16;                                // products of fragments along a panel

// The sums of one thread: four of each fragment.
typedef float Sums[DOWN][ACROSS][4];

// The layout of an operand in shared memory: that of global memory, as asynchronous copies need. ALONG_K: rows of k, [i][k];
// otherwise rows of i, [k][i]. i goes from 0 to EXTENT. A row consists of units of 16 bytes, whose order within the row depends
// on the number of the row: the eight neighbouring units of one copy share no bank, nor do the eight units of one ldmatrix,
// which are in eight rows. So the rows need no padding.
template <bool ALONG_K, int EXTENT>
struct Panel {
  static constexpr int ROWS = ALONG_K ? EXTENT : DEPTH, LENGTH = ALONG_K ? DEPTH : EXTENT;
  static constexpr int UNITS = LENGTH < 64 ? LENGTH / 8 : 8, ROWS_AT_ONCE = 8 / UNITS;  // all banks together hold eight units
  bf16 values[ROWS * LENGTH];

  __device__ __forceinline__ static int place(int row, int column) {
    return row * LENGTH + (column ^ row / ROWS_AT_ONCE % UNITS * 8);
  }
};

__device__ __forceinline__ bool is_aligned(const bf16* matrix, int row_length) {
  return aligned16(matrix) && row_length % 8 == 0;
}

// Copies a corner of a matrix into a panel, zeros from beyond its end: STEP numbers at a time, eight without waiting for them.
template <int STEP, bool ALONG_K, int EXTENT>
__device__ __forceinline__ void start_steps(Panel<ALONG_K, EXTENT>& panel, const bf16* matrix, int rows, int row_length,
                                            int first_row, int first_column) {
  constexpr int PARTS = Panel<ALONG_K, EXTENT>::LENGTH / STEP;
#pragma unroll 1  // unrolled, it takes registers that the sums need
  for (int part = threadIdx.x; part < Panel<ALONG_K, EXTENT>::ROWS * PARTS; part += THREADS) {
    const int i = part / PARTS, j = part % PARTS * STEP, place = panel.place(i, j);
    const bool inside = first_row + i < rows && first_column + j < row_length;
    const bf16* from = inside ? matrix + (size_t)(first_row + i) * row_length + first_column + j : matrix;
    if constexpr (STEP == 8)
      copy_async_16(&panel.values[place], from, inside);
    else
      panel.values[place] = inside ? *from : bf16(0.0f);
  }
}

// One by one where rows do not start at multiples of 16 bytes: cp.async moves no less than two.
template <bool ALONG_K, int EXTENT>
__device__ __forceinline__ void start_copy(Panel<ALONG_K, EXTENT>& panel, const bf16* matrix, int rows, int row_length,
                                           int first_row, int first_column, bool aligned) {
  if (aligned)
    start_steps<8>(panel, matrix, rows, row_length, first_row, first_column);
  else
    start_steps<1>(panel, matrix, rows, row_length, first_row, first_column);
}

// Reads a fragment of 16 rows, by 16 of k, by one ldmatrix: first and second eight rows in the first half of k, then in the
// second. Where k runs across memory, it turns each of its four 8 x 8 matrices on the way.
template <bool ALONG_K, int EXTENT>
__device__ __forceinline__ void read_fragment(unsigned (&fragment)[4], const Panel<ALONG_K, EXTENT>& panel, int row, int k) {
  const int lane = lane_index();
  if (ALONG_K)
    load_matrices(fragment, &panel.values[panel.place(row + lane % 16, k + lane / 16 * 8)]);
  else
    load_transposed(fragment, &panel.values[panel.place(k + lane % 8 + lane / 16 * 8, row + lane / 8 % 2 * 8)]);
}

// Adds the products of two panels. They are summed from zero in the tensor cores, whose additions may cut digits off, and
// only then added to the earlier sum, with correct rounding.
template <bool A_ALONG_K, bool B_ALONG_K>
__device__ __forceinline__ void add_products(Sums& sums, const Panel<A_ALONG_K, TILE_ROWS>& a,
                                             const Panel<B_ALONG_K, TILE_COLUMNS>& b) {
  const int row = warp_index() / WARPS_ACROSS * WARP_ROWS, column = warp_index() % WARPS_ACROSS * WARP_COLUMNS;
  unsigned both[ACROSS / 2][STEPS][4];  // 16 columns of b, read like 16 rows of a: two right factors, registers in turn
#pragma unroll
  for (int pair = 0; pair < ACROSS / 2; ++pair)
#pragma unroll
    for (int step = 0; step < STEPS; ++step) read_fragment(both[pair][step], b, column + 16 * pair, 16 * step);
#pragma unroll
  for (int i = 0; i < DOWN; ++i) {
    unsigned left[STEPS][4];
#pragma unroll
    for (int step = 0; step < STEPS; ++step) read_fragment(left[step], a, row + 16 * i, 16 * step);
#pragma unroll
    for (int j = 0; j < ACROSS; ++j) {
      float fresh[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
      for (int step = 0; step < STEPS; ++step) {
        const unsigned right[2] = {both[j / 2][step][j % 2], both[j / 2][step][j % 2 + 2]};
        multiply_bf16(fresh, left[step], right);
      }
#pragma unroll
      for (int part = 0; part < 4; ++part) sums[i][j][part] += fresh[part];
    }
  }
}

#include "mma_loop.cuh"  // multiply_tile and for_each_sum
