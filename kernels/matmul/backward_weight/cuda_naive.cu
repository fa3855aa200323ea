// One thread for each element of dweight: a column of dy times a column of x.
// Dims: N = rows (batch x time), C = input channels, O = output channels.
// dy (N, O); x (N, C); dweight (O, C).
#include "crucible.cuh"

extern "C" __global__ void backward_weight_naive(const floatX* dy, const floatX* x, floatX* dweight, int rows, int channels,
                                                 int outputs, bool accumulate) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = blockIdx.y * blockDim.y + threadIdx.y;
  if (row >= outputs || column >= channels) return;
  float sum = 0.0f;
  for (int k = 0; k < rows; ++k) sum += dy[(size_t)k * outputs + row] * x[(size_t)k * channels + column];
  floatX& place = dweight[(size_t)row * channels + column];
  place = accumulate ? place + sum : sum;
}
