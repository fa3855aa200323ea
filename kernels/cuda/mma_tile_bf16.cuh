// A block's 128 x 64 tile of a product of bf16 matrices on tensor cores: 4 warps of 64 x 32 each.
#pragma once
#include "crucible.cuh"
#include "mma.cuh"

constexpr int TILE_ROWS = 128, TILE_COLUMNS = 64, DEPTH = 32, THREADS = 128;
constexpr int WARP_ROWS = 64, WARP_COLUMNS = 32, WARPS_ACROSS = TILE_COLUMNS / WARP_COLUMNS;
constexpr int DOWN = WARP_ROWS / 16, ACROSS = WARP_COLUMNS / 8;  // fragments of a warp
constexpr int STEPS = DEPTH / 16;                                // products of fragments along a panel

// The sums of one thread: four of each fragment.
typedef float Sums[DOWN][ACROSS][4];

// How an operand lies in shared memory: as in global memory, so that asynchronous copies can bring it. ALONG_K: k runs along
// memory, [i][k]; otherwise i does, [k][i]. i goes from 0 to EXTENT. Rows are cut into pieces of 16 bytes, whose places in a
// row are exchanged by the row's number: eight that are copied at once, side by side, and eight that ldmatrix reads at once,
// one above the other, then share no bank, and no room is lost to padding.
template <bool ALONG_K, int EXTENT>
struct Panel {
  static constexpr int ROWS = ALONG_K ? EXTENT : DEPTH, LENGTH = ALONG_K ? DEPTH : EXTENT;
  static constexpr int PIECES = LENGTH < 64 ? LENGTH / 8 : 8, ROWS_AT_ONCE = 8 / PIECES;  // all banks hold eight pieces
  bf16 values[ROWS * LENGTH];

  __device__ __forceinline__ static int place(int row, int column) {
    return row * LENGTH + (column ^ row / ROWS_AT_ONCE % PIECES * 8);
  }
};

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
// only then added to what was there, with correct rounding.
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

// Sums a(i, k) * b(k, j) over k for the tile of this block: blockIdx.y counts tiles down, blockIdx.x across. While one pair of
// panels is multiplied, the next is on its way.
template <bool A_ALONG_K, bool B_ALONG_K>
__device__ __forceinline__ void multiply_tile(Sums& sums, const bf16* a, const bf16* b, int rows, int columns, int depth) {
  __shared__ alignas(16) Panel<A_ALONG_K, TILE_ROWS> a_panel[2];
  __shared__ alignas(16) Panel<B_ALONG_K, TILE_COLUMNS> b_panel[2];
  const int row = blockIdx.y * TILE_ROWS, column = blockIdx.x * TILE_COLUMNS;
  const bool a_aligned = aligned16(a) && (A_ALONG_K ? depth : rows) % 8 == 0;
  const bool b_aligned = aligned16(b) && (B_ALONG_K ? depth : columns) % 8 == 0;
  auto start = [&](int k0, int stage) {
    start_copy(a_panel[stage], a, A_ALONG_K ? rows : depth, A_ALONG_K ? depth : rows, A_ALONG_K ? row : k0,
               A_ALONG_K ? k0 : row, a_aligned);
    start_copy(b_panel[stage], b, B_ALONG_K ? columns : depth, B_ALONG_K ? depth : columns, B_ALONG_K ? column : k0,
               B_ALONG_K ? k0 : column, b_aligned);
    copy_commit();
  };
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int j = 0; j < ACROSS; ++j)
#pragma unroll
      for (int part = 0; part < 4; ++part) sums[i][j][part] = 0.0f;
  if (depth > 0) start(0, 0);
  for (int k0 = 0, stage = 0; k0 < depth; k0 += DEPTH, stage ^= 1) {
    if (k0 + DEPTH < depth) {
      start(k0 + DEPTH, stage ^ 1);
      copy_wait<1>();
    } else {
      copy_wait<0>();
    }
    __syncthreads();
    add_products(sums, a_panel[stage], b_panel[stage]);
    __syncthreads();
  }
}

// Calls use(row, column, sum) for each sum of this thread that lies inside the result.
template <class Use>
__device__ __forceinline__ void for_each_sum(const Sums& sums, int rows, int columns, Use use) {
  const int lane = lane_index(), warp = warp_index();
  const int row = blockIdx.y * TILE_ROWS + warp / WARPS_ACROSS * WARP_ROWS + lane / 4;
  const int column = blockIdx.x * TILE_COLUMNS + warp % WARPS_ACROSS * WARP_COLUMNS + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int j = 0; j < ACROSS; ++j)
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int down = row + 16 * i + part / 2 * 8, across = column + 8 * j + part % 2;
        if (down < rows && across < columns) use(down, across, sums[i][j][part]);
      }
}
