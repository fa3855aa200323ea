// Shared code of the CUDA variants: indices, reductions over warps and blocks, 128-bit access, bfloat16 by its bits.
// Plain CUDA C++17 without any include: NVRTC compiles it alone, clang after the simulator's builtins.
#pragma once

constexpr int WARP = 32;
constexpr unsigned FULL_WARP = 0xffffffffu;

template <class T>
__host__ __device__ constexpr T ceil_div(T size, T part) {
  return (size + part - 1) / part;
}

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

// The number of this thread in a one-dimensional grid, and how many there are.
__device__ __forceinline__ long long thread_index() { return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ long long thread_count() { return static_cast<long long>(gridDim.x) * blockDim.x; }

// The place of a thread in its warp, and of the warp in its block (one-dimensional blocks).
__device__ __forceinline__ int lane_index() { return threadIdx.x % WARP; }
__device__ __forceinline__ int warp_index() { return threadIdx.x / WARP; }

// Every lane gets the result, and the same bits: two lanes that exchange values add the same two numbers.
__device__ __forceinline__ float warp_sum(float value) {
  for (int distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(FULL_WARP, value, distance);
  return value;
}

// NaN counts as smaller than everything, as in fmaxf.
__device__ __forceinline__ float warp_max(float value) {
  for (int distance = WARP / 2; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, distance));
  }
  return value;
}

// Reductions over a one-dimensional block of whole warps. All threads call them and all get the result; `scratch` is shared
// memory with one float for each warp, and may be used again at once.
__device__ __forceinline__ float block_sum(float value, float* scratch) {
  value = warp_sum(value);
  if (lane_index() == 0) scratch[warp_index()] = value;
  __syncthreads();
  float total = 0.0f;
  for (int warp = 0; warp < blockDim.x / WARP; ++warp) total += scratch[warp];
  __syncthreads();
  return total;
}

__device__ __forceinline__ float block_max(float value, float* scratch) {
  value = warp_max(value);
  if (lane_index() == 0) scratch[warp_index()] = value;
  __syncthreads();
  float largest = scratch[0];
  for (int warp = 1; warp < blockDim.x / WARP; ++warp) largest = fmaxf(largest, scratch[warp]);
  __syncthreads();
  return largest;
}

// The sum down one column of a row-major matrix, by the threads (x, 0) to (x, GROUPS - 1) of a block of WARP x GROUPS
// threads, in an order that only the number of rows decides. Threads beyond the last column only take part in the barriers.
constexpr int GROUPS = 8;  // warps: enough to hide the latency of memory
template <class T>
__device__ __forceinline__ float column_sum(const T* matrix, long long rows, int columns, int column, float (*shares)[WARP]) {
  float share = 0.0f;
  if (column < columns) {
    for (long long row = threadIdx.y; row < rows; row += GROUPS) share += matrix[row * columns + column];
  }
  shares[threadIdx.y][threadIdx.x] = share;
  __syncthreads();
  float total = 0.0f;
  for (int group = 0; group < GROUPS; ++group) total += shares[group][threadIdx.x];
  return total;
}

// bfloat16 is the upper half of a float32.
__device__ __forceinline__ float bf16_to_float(unsigned short bits) {
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

// Rounds to nearest, ties to even. NaN becomes a quiet NaN, since cutting its lower bits could turn it into infinity.
__device__ __forceinline__ unsigned short float_to_bf16(float value) {
  const unsigned bits = __float_as_uint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<unsigned short>((bits >> 16) | 0x40u);
  return static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Stochastic rounding: the probability of each neighbour grows with its nearness, so that the mean error is zero. Only the
// lower 16 bits of `random` are used.
__device__ __forceinline__ unsigned short float_to_bf16_stochastic(float value, unsigned random) {
  const unsigned bits = __float_as_uint(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return float_to_bf16(value);
  return static_cast<unsigned short>((bits + (random & 0xffffu)) >> 16);
}

// A float that is stored in two bytes: read as a float, rounded when it is written. Sums are float, never bf16.
struct bf16 {
  unsigned short bits;
  bf16() = default;
  __device__ __forceinline__ bf16(float value) : bits(float_to_bf16(value)) {}
  __device__ __forceinline__ operator float() const { return bf16_to_float(bits); }
};

// The dtype in which a problem stores its floats: the launcher defines bf16 if an array of the call is bfloat16.
#ifndef FLOATX
#define FLOATX float
#endif
using floatX = FLOATX;

// One 128-bit instruction moves four floats or eight bf16, where the address is a multiple of 16 bytes.
template <class... Pointers>
__device__ __forceinline__ bool aligned16(Pointers... pointers) {
  return ((reinterpret_cast<unsigned long long>(pointers) % 16 == 0) && ...);
}
__device__ __forceinline__ float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }
__device__ __forceinline__ void store4(float* to, float4 value) { *reinterpret_cast<float4*>(to) = value; }

// A pack is the elements that one load or store moves: one element at any address, or 128 bits where every row is aligned.
struct Packed1 {
  static constexpr int SIZE = 1;
  float v[SIZE];
  template <class T>
  __device__ void load(const T* from) { v[0] = *from; }
  template <class T>
  __device__ void store(T* to) const { *to = v[0]; }
};

// As many neighbours as 128 bits hold of floatX (llm.c: x128). In a bfloat16 problem, eight floats take two instructions.
struct Packed128 {
  static constexpr int SIZE = 16 / sizeof(floatX);
  float v[SIZE];
  __device__ void load(const float* from) {
#pragma unroll
    for (int i = 0; i < SIZE; i += 4) {
      const float4 packed = load4(from + i);
      v[i] = packed.x, v[i + 1] = packed.y, v[i + 2] = packed.z, v[i + 3] = packed.w;
    }
  }
  __device__ void store(float* to) const {
#pragma unroll
    for (int i = 0; i < SIZE; i += 4) store4(to + i, make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]));
  }
  __device__ void load(const bf16* from) {
    const uint4 packed = *reinterpret_cast<const uint4*>(from);
    const unsigned words[] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
    for (int i = 0; i < SIZE; ++i) v[i] = bf16_to_float(words[i / 2] >> (i % 2 * 16));
  }
  __device__ void store(bf16* to) const {
    unsigned words[4] = {};
#pragma unroll
    for (int i = 0; i < SIZE; ++i) words[i / 2] |= static_cast<unsigned>(float_to_bf16(v[i])) << (i % 2 * 16);
    *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
  }
};
