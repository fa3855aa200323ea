// Tensor cores and the copies that feed them, as inline PTX (PTX ISA 8.0, sections 9.7.8.25 cp.async, 9.7.14.5 ldmatrix and
// mma).
//
// Fragments of m16n8k8 (tf32) and m16n8k16 (bf16), with row = lane / 4 and pair = lane % 4. Each register of the second shape
// holds two neighbours along k, at 2 * pair and 2 * pair + 1; the first shape has one value per register, at k = pair.
//     a[0] row, first half of k     a[1] row + 8, first half     a[2] row, second half     a[3] row + 8, second half
//     b[0] column lane / 4, first half of k                      b[1] the same column, second half
//     d[0] row, column 2 * pair     d[1] the next column         d[2], d[3] the same of row + 8
#pragma once

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  unsigned long long address;
  asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(pointer));
  return (unsigned)address;
}

// Starts a copy of 16 bytes from global to shared memory; both addresses are multiples of 16. Without `wanted`, zeros arrive.
template <class T>
__device__ __forceinline__ void copy_async_16(T* target, const T* source, bool wanted = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(target)), "l"(source), "r"(wanted ? 16 : 0)
               : "memory");
}

// The same for a single float.
__device__ __forceinline__ void copy_async_4(float* target, const float* source, bool wanted = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(target)), "l"(source), "r"(wanted ? 4 : 0)
               : "memory");
}

// Closes a group of copies.
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most PENDING of this thread's groups are still on their way; others' copies need a barrier after it.
template <int PENDING>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Loads two or four 8 x 8 matrices of 16-bit values, or as well 8 x 4 matrices of 32-bit values: lane i names row i % 8 of
// matrix i / 8, 16 bytes that start at a multiple of 16, and receives the 32 bits at row lane / 4, place lane % 4 of each.
__device__ __forceinline__ void load_matrices(unsigned (&fragment)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(fragment[0]), "=r"(fragment[1])
               : "r"(shared_address(row))
               : "memory");
}

__device__ __forceinline__ void load_matrices(unsigned (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

// The same, each matrix transposed; for 16-bit values only.
__device__ __forceinline__ void load_transposed(unsigned (&fragment)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(fragment[0]), "=r"(fragment[1])
               : "r"(shared_address(row))
               : "memory");
}

__device__ __forceinline__ void load_transposed(unsigned (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

// d += a * b for a 16 x 8 tile of d and a depth of 16, bf16 factors and float32 sums.
__device__ __forceinline__ void multiply_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a * b for a 16 x 8 tile of d and a depth of 8, tf32 factors and float32 sums.
__device__ __forceinline__ void multiply_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Rounds to tf32: the exponent of a float32, and 10 of its 23 bits.
__device__ __forceinline__ unsigned round_to_tf32(float value) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
  return rounded;
}

// A float32 as the sum of two tf32: what rounding leaves is itself rounded. A value that is not finite has no remainder.
struct SplitTf32 {
  unsigned big, small;
};

__device__ __forceinline__ SplitTf32 split_tf32(float value) {
  unsigned big = round_to_tf32(value) & 0xffffe000u;  // the other bits are not said to be zero
  float rest = value - __uint_as_float(big);
  return {big, round_to_tf32(rest == rest ? rest : 0.0f)};
}

// Splits all registers of a fragment, given as the bits of float32.
template <int COUNT>
__device__ __forceinline__ void split_fragment(const unsigned (&bits)[COUNT], unsigned (&big)[COUNT],
                                               unsigned (&small)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    SplitTf32 parts = split_tf32(__uint_as_float(bits[i]));
    big[i] = parts.big;
    small[i] = parts.small;
  }
}

// d += a * b in three products of tf32 parts, the smallest first; that of both remainders, at most 2^-22
// of the result, is left out.
__device__ __forceinline__ void multiply_3xtf32(float (&d)[4], const unsigned (&a_big)[4], const unsigned (&a_small)[4],
                                                const unsigned (&b_big)[2], const unsigned (&b_small)[2]) {
  multiply_tf32(d, a_small, b_big);
  multiply_tf32(d, a_big, b_small);
  multiply_tf32(d, a_big, b_big);
}

// Rounds two neighbours along k to bf16; the first is the lower half.
__device__ __forceinline__ unsigned round_to_bf16(float first, float second) {
  unsigned rounded;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(rounded) : "f"(second), "f"(first));
  return rounded;
}

// Two float32, each as the sum of three bf16, whose 8 digits each make up the 24 without loss. A value that is not finite has
// no remainder.
__device__ __forceinline__ void split_bf16(float first, float second, unsigned& big, unsigned& middle, unsigned& small) {
  big = round_to_bf16(first, second);
  first -= __uint_as_float(big << 16);
  second -= __uint_as_float(big & 0xffff0000u);
  first = first == first ? first : 0.0f;
  second = second == second ? second : 0.0f;
  middle = round_to_bf16(first, second);
  small = round_to_bf16(first - __uint_as_float(middle << 16), second - __uint_as_float(middle & 0xffff0000u));
}

// d += a * b in six products of bf16 parts, the smallest first; the other three, at most 2^-23 of the result, are left out.
__device__ __forceinline__ void multiply_6xbf16(float (&d)[4], const unsigned (&a_big)[4], const unsigned (&a_middle)[4],
                                                const unsigned (&a_small)[4], const unsigned (&b_big)[2],
                                                const unsigned (&b_middle)[2], const unsigned (&b_small)[2]) {
  multiply_bf16(d, a_small, b_big);
  multiply_bf16(d, a_big, b_small);
  multiply_bf16(d, a_middle, b_middle);
  multiply_bf16(d, a_middle, b_big);
  multiply_bf16(d, a_big, b_middle);
  multiply_bf16(d, a_big, b_big);
}
