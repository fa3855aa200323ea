// One thread for each element of y: the dot product of a row of x and a row of the weight.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// x (N, C); weight (O, C); bias (O); y (N, O).
#include "crucible.cuh"

extern "C" __global__ void matmul_naive(const floatX* x, const floatX* weight, const floatX* bias, floatX* y, int rows,
                                        int channels, int outputs) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = blockIdx.y * blockDim.y + threadIdx.y;
  if (row >= rows || column >= outputs) return;
  float sum = 0.0f;
  for (int k = 0; k < channels; ++k) sum += x[(size_t)row * channels + k] * weight[(size_t)column * channels + k];
  y[(size_t)row * outputs + column] = sum + bias[column];
}
