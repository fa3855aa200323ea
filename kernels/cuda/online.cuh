// A running maximum, and the sum of exponentials relative to it: softmax in one read of its input.
// Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
#pragma once
#include "crucible.cuh"

struct Online {
  float largest, total;

  __device__ void clear() {
    largest = -infinity();
    total = 0.0f;
  }

  // Where x raises the maximum, the earlier sum is rescaled. The maximum is -infinity until the first larger x, and
  // -infinity - -infinity would be NaN. A NaN passes both comparisons and stays in the sum.
  __device__ void add(float x) {
    if (x > largest) {
      total *= expf(largest - x);
      largest = x;
    }
    if (x != -infinity()) total += expf(x - largest);
  }

  __device__ void merge(float other_largest, float other_total) {
    const float raised = fmaxf(largest, other_largest);
    const float reference = raised == -infinity() ? 0.0f : raised;
    total = total * expf(largest - reference) + other_total * expf(other_largest - reference);
    largest = raised;
  }

  // Adds the share of this thread in a row: the block moves packs of 128 bits up to `whole`, and single elements after it.
  template <int THREADS>
  __device__ __forceinline__ void add_share(const floatX* x, int whole, int size) {
    Packed128 packed;
    for (int i = Packed128::SIZE * threadIdx.x; i < whole; i += Packed128::SIZE * THREADS) {
      packed.load(x + i);
      for (int j = 0; j < Packed128::SIZE; ++j) add(packed.v[j]);
    }
    for (int i = whole + threadIdx.x; i < size; i += THREADS) add(x[i]);
  }

  // Every lane gets the maximum and the sum over its warp.
  __device__ void merge_warp() {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
      const float other_largest = __shfl_xor_sync(FULL_WARP, largest, distance);
      const float other_total = __shfl_xor_sync(FULL_WARP, total, distance);
      merge(other_largest, other_total);
    }
  }

  // The same over a one-dimensional block of whole warps; `scratch` is shared memory with an entry for each warp.
  __device__ void merge_block(float2* scratch) {
    merge_warp();
    if (lane_index() == 0) scratch[warp_index()] = make_float2(largest, total);
    __syncthreads();
    clear();
    for (int warp = 0; warp < blockDim.x / WARP; ++warp) merge(scratch[warp].x, scratch[warp].y);
  }
};
