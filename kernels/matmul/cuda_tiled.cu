// A block of 32 x 32 threads computes a tile of y. Along k it takes one tile of x and one of the weight after the other into
// shared memory, where each number is then read 32 times.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// x (N, C); weight (O, C); bias (O); y (N, O).
#include "crucible.cuh"

constexpr int SIDE = 32;

extern "C" __global__ void matmul_tiled(const floatX* x, const floatX* weight, const floatX* bias, floatX* y, int rows,
                                        int channels, int outputs) {
  __shared__ float x_tile[SIDE][SIDE];
  __shared__ float weight_tile[SIDE][SIDE + 1];  // one more, since a warp reads down a column: 32 different banks
  const int across = threadIdx.x, down = threadIdx.y;
  const int row = blockIdx.y * SIDE + down, column = blockIdx.x * SIDE + across;
  const int weight_row = blockIdx.x * SIDE + down;  // loads run along memory: neighbours in a warp take neighbours in k
  float sum = 0.0f;
  for (int k0 = 0; k0 < channels; k0 += SIDE) {
    const int k = k0 + across;
    x_tile[down][across] = row < rows && k < channels ? float(x[(size_t)row * channels + k]) : 0.0f;
    weight_tile[down][across] = weight_row < outputs && k < channels ? float(weight[(size_t)weight_row * channels + k]) : 0.0f;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < SIDE; ++i) sum += x_tile[down][i] * weight_tile[across][i];
    __syncthreads();
  }
  if (row < rows && column < outputs) y[(size_t)row * outputs + column] = sum + bias[column];
}
