// The loop over k of a block's tile on tensor cores, and the loop over its sums: the end of mma_tile.cuh and
// mma_tile_bf16.cuh, which define the sizes of tiles, the layout of panels, and the product of two panels.
#pragma once

// Sums a(i, k) * b(k, j) over k for the tile of this block: blockIdx.y counts tiles down, blockIdx.x across. While one pair of
// panels is multiplied, the next pair is being copied.
template <bool A_ALONG_K, bool B_ALONG_K, class T>
__device__ __forceinline__ void multiply_tile(Sums& sums, const T* a, const T* b, int rows, int columns, int depth) {
  __shared__ alignas(16) Panel<A_ALONG_K, TILE_ROWS> a_panel[2];
  __shared__ alignas(16) Panel<B_ALONG_K, TILE_COLUMNS> b_panel[2];
  const int row = blockIdx.y * TILE_ROWS, column = blockIdx.x * TILE_COLUMNS;
  const bool a_aligned = is_aligned(a, A_ALONG_K ? depth : rows), b_aligned = is_aligned(b, B_ALONG_K ? depth : columns);
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

// Calls use(row, column, sum) for each sum of this thread inside the result.
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
