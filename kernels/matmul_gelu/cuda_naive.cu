// One thread for each element: the dot product of a row of x and a row of the weight, then its GELU.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// x (N, C); weight (O, C); bias (O); pre, y (N, O).
#include "crucible.cuh"
#include "gelu.cuh"

extern "C" __global__ void matmul_gelu_naive(const floatX* x, const floatX* weight, const floatX* bias, floatX* pre, floatX* y,
                                             int rows, int channels, int outputs) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = blockIdx.y * blockDim.y + threadIdx.y;
  if (row >= rows || column >= outputs) return;
  float sum = 0.0f;
  for (int k = 0; k < channels; ++k) sum += x[(size_t)row * channels + k] * weight[(size_t)column * channels + k];
  sum += bias[column];
  pre[(size_t)row * outputs + column] = sum;
  y[(size_t)row * outputs + column] = gelu(sum);
}
