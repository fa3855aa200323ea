// Dims: K = gradients.
// grad (K); norm (1).
#include "crucible.cuh"

constexpr int THREADS = 256;  // as in the Python file, which launches the kernel

// Workspace is float32, and may start in the middle of a double: the first whole double begins at most four bytes later.
__device__ double* doubles_in(float* workspace) {
  return reinterpret_cast<double*>((reinterpret_cast<unsigned long long>(workspace) + 7) / 8 * 8);
}

// The sum over the block, for thread 0: a tree within each warp, then over the warps.
__device__ double block_total(double value) {
  __shared__ double shares[THREADS / WARP];
  for (int distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(FULL_WARP, value, distance);
  if (lane_index() == 0) shares[warp_index()] = value;
  __syncthreads();
  double total = 0.0;
  for (int warp = 0; warp < THREADS / WARP; ++warp) total += shares[warp];
  return total;
}

__device__ double square(double value) { return value * value; }

extern "C" __global__ void global_norm_squares(const floatX* grad, float* workspace, long long size) {
  double share = 0.0;
  for (long long first = Packed128::SIZE * thread_index(); first < size; first += Packed128::SIZE * thread_count()) {
    if (first + Packed128::SIZE <= size && aligned16(grad)) {
      Packed128 g;
      g.load(grad + first);
      for (int i = 0; i < Packed128::SIZE; i += 2) share += square(g.v[i]) + square(g.v[i + 1]);
    } else {
      for (long long k = first; k < first + Packed128::SIZE && k < size; ++k) share += square(grad[k]);
    }
  }
  const double total = block_total(share);
  if (threadIdx.x == 0) doubles_in(workspace)[blockIdx.x] = total;
}

extern "C" __global__ void global_norm_total(float* workspace, float* norm, int blocks) {
  double share = 0.0;
  for (int block = threadIdx.x; block < blocks; block += THREADS) share += doubles_in(workspace)[block];
  const double total = block_total(share);
  if (threadIdx.x == 0) *norm = static_cast<float>(sqrt(total));
}
