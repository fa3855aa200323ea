// Tiles of 32 queries or keys for attention, between 128 threads: each has 2 x 4 of the tile's scores, and two rows' share of
// the sums. HEAD is the size of a head rounded up to 32, 64 or 96; the rest of a row is zeros. All of it is float32: bf16 is
// widened where it is loaded, and rounded where it is stored.
#pragma once
#include "crucible.cuh"

// Three tiles of 32 rows and the weights fit 48 KB of shared memory, all that every GPU gives a block.
constexpr int TILE = 32, THREADS = 128;
constexpr int DOWN = 2, ACROSS = 4;      // scores of a thread
constexpr int TEAMS = 16, MEMBERS = 8;   // a team of eight neighbouring lanes has two rows
constexpr int WEIGHT_STRIDE = TILE + 4;  // keeps 128-bit loads aligned and rows on different banks
typedef float Scores[DOWN][ACROSS];
typedef float Weights[TILE][WEIGHT_STRIDE];

template <int HEAD>
struct Rows {
  float values[TILE][HEAD + 4];
};

// A thread's share of sums: in each of its two rows, every eighth group of four numbers.
template <int HEAD>
struct Sums {
  float4 values[DOWN][HEAD / 32];
};

// The rows and columns of a tile that a thread has scores of.
__device__ __forceinline__ int row_of(int i) { return threadIdx.x / MEMBERS + TEAMS * i; }
__device__ __forceinline__ int column_of(int j) { return threadIdx.x % MEMBERS + MEMBERS * j; }

// Copies `count` rows of `size` numbers, zeros around them.
template <int HEAD>
__device__ __forceinline__ void load_rows(Rows<HEAD>& rows, const floatX* from, int count, int size, long long stride) {
  for (int i = threadIdx.x; i < TILE * HEAD; i += THREADS) {
    const int row = i / HEAD, d = i % HEAD;
    rows.values[row][d] = row < count && d < size ? float(from[row * stride + d]) : 0.0f;
  }
}

// scores[i][j] = the dot product of a left and a right row.
template <int HEAD>
__device__ __forceinline__ void multiply_rows(Scores& scores, const Rows<HEAD>& left, const Rows<HEAD>& right) {
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int j = 0; j < ACROSS; ++j) scores[i][j] = 0.0f;
#pragma unroll 4
  for (int d = 0; d < HEAD; d += 4) {
    float4 a[DOWN], b[ACROSS];
#pragma unroll
    for (int i = 0; i < DOWN; ++i) a[i] = load4(&left.values[row_of(i)][d]);
#pragma unroll
    for (int j = 0; j < ACROSS; ++j) b[j] = load4(&right.values[column_of(j)][d]);
#pragma unroll
    for (int i = 0; i < DOWN; ++i)
#pragma unroll
      for (int j = 0; j < ACROSS; ++j) {
        scores[i][j] += a[i].x * b[j].x;
        scores[i][j] += a[i].y * b[j].y;
        scores[i][j] += a[i].z * b[j].z;
        scores[i][j] += a[i].w * b[j].w;
      }
  }
}

// Puts a thread's weights where the other seven lanes of its rows can read them.
__device__ __forceinline__ void share_weights(Weights& weights, const Scores& mine) {
  __syncwarp();
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int j = 0; j < ACROSS; ++j) weights[row_of(i)][column_of(j)] = mine[i][j];
  __syncwarp();
}

template <int HEAD>
__device__ __forceinline__ void clear(Sums<HEAD>& sums) {
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int part = 0; part < HEAD / 32; ++part) sums.values[i][part] = {0.0f, 0.0f, 0.0f, 0.0f};
}

// Adds to each of a thread's two rows the rows of a tile, weighted. Pairs that do not see each other are left out, since 0
// times infinity is not 0.
template <int HEAD, class Visible>
__device__ __forceinline__ void add_rows(Sums<HEAD>& sums, const Weights& weights, const Rows<HEAD>& rows, Visible visible) {
#pragma unroll 4
  for (int s = 0; s < TILE; ++s) {
    float4 row[HEAD / 32];
#pragma unroll
    for (int part = 0; part < HEAD / 32; ++part) row[part] = load4(&rows.values[s][4 * column_of(part)]);
#pragma unroll
    for (int i = 0; i < DOWN; ++i) {
      const float weight = weights[row_of(i)][s];
      if (visible(row_of(i), s)) {
#pragma unroll
        for (int part = 0; part < HEAD / 32; ++part) {
          float4& sum = sums.values[i][part];
          sum.x += weight * row[part].x;
          sum.y += weight * row[part].y;
          sum.z += weight * row[part].z;
          sum.w += weight * row[part].w;
        }
      }
    }
  }
}

// Writes row i of a thread's sums, times a factor.
template <int HEAD>
__device__ __forceinline__ void write_row(floatX* to, const Sums<HEAD>& sums, int i, int size, float factor) {
#pragma unroll
  for (int part = 0; part < HEAD / 32; ++part) {
    const int d = 4 * column_of(part);
    const float4 sum = sums.values[i][part];
    if (d < size) to[d] = sum.x * factor;
    if (d + 1 < size) to[d + 1] = sum.y * factor;
    if (d + 2 < size) to[d + 2] = sum.z * factor;
    if (d + 3 < size) to[d + 3] = sum.w * factor;
  }
}
