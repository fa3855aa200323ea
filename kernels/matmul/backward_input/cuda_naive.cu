// One thread for each element of dx: a row of dy times a column of the weight.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// dy (N, O); weight (O, C); dx (N, C).
#include "crucible.cuh"

extern "C" __global__ void backward_input_naive(const floatX* dy, const floatX* weight, floatX* dx, int rows, int channels,
                                                int outputs) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = blockIdx.y * blockDim.y + threadIdx.y;
  if (row >= rows || column >= channels) return;
  float sum = 0.0f;
  for (int k = 0; k < outputs; ++k) sum += dy[(size_t)row * outputs + k] * weight[(size_t)k * channels + column];
  dx[(size_t)row * channels + column] = sum;
}
