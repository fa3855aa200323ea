// One thread for each element of dpre: a row of dy times a column of the weight, times the slope of GELU at pre.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// dy (N, O); weight (O, C); pre, dpre (N, C).
#include "crucible.cuh"
#include "gelu.cuh"

extern "C" __global__ void matmul_gelu_backward_naive(const floatX* dy, const floatX* weight, const floatX* pre, floatX* dpre,
                                                      int rows, int channels, int outputs) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = blockIdx.y * blockDim.y + threadIdx.y;
  if (row >= rows || column >= channels) return;
  float sum = 0.0f;
  for (int k = 0; k < outputs; ++k) sum += dy[(size_t)row * outputs + k] * weight[(size_t)k * channels + column];
  const size_t place = (size_t)row * channels + column;
  dpre[place] = sum * gelu_slope(pre[place]);
}
