// The names that a CUDA kernel uses without an include, for clang without NVIDIA's headers.
// Names and meanings follow the CUDA C++ Programming Guide and the CUDA Math API. Functions called __nv_* are bound
// to functions of the CPU by the simulator; everything else becomes PTX.
#pragma once

#define __CUDA_SIMULATOR__ 1
#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __align__(n) __attribute__((aligned(n)))
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __grid_constant__
#define CRU_FN static __device__ __forceinline__

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __INT8_TYPE__ int8_t;
typedef __INT16_TYPE__ int16_t;
typedef __INT32_TYPE__ int32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __INTPTR_TYPE__ intptr_t;

// Limits and constants.
#ifndef NULL
#define NULL 0
#endif
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define HUGE_VALF __builtin_inff()
#define FLT_MAX __FLT_MAX__
#define FLT_MIN __FLT_MIN__
#define FLT_EPSILON __FLT_EPSILON__
#define DBL_MAX __DBL_MAX__
#define DBL_MIN __DBL_MIN__
#define DBL_EPSILON __DBL_EPSILON__
#define INT_MAX __INT_MAX__
#define INT_MIN (-__INT_MAX__ - 1)
#define UINT_MAX (__INT_MAX__ * 2U + 1U)
#define CUDART_INF_F __builtin_inff()
#define CUDART_NAN_F __builtin_nanf("")
#define CUDART_INF __builtin_inf()
#define CUDART_NAN __builtin_nan("")
#define CUDART_PI_F 3.141592654f
#define CUDART_L2E_F 1.442695041f
#define CUDART_LN2_F 0.693147181f
#define M_PI 3.14159265358979323846
#define M_SQRT1_2 0.70710678118654752440
#define M_2_SQRTPI 1.12837916709551257390

// Vector types: sizes and alignments are CUDA's.
#define CRU_VECTORS(T, name, align2, align4)                                                                         \
  struct name##1 { T x; };                                                                                           \
  struct __align__(align2) name##2 { T x, y; };                                                                      \
  struct name##3 { T x, y, z; };                                                                                     \
  struct __align__(align4) name##4 { T x, y, z, w; };                                                                \
  CRU_FN name##1 make_##name##1(T x) { return {x}; }                                                                 \
  CRU_FN name##2 make_##name##2(T x, T y) { return {x, y}; }                                                         \
  CRU_FN name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                                 \
  CRU_FN name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CRU_VECTORS(char, char, 2, 4)
CRU_VECTORS(unsigned char, uchar, 2, 4)
CRU_VECTORS(short, short, 4, 8)
CRU_VECTORS(unsigned short, ushort, 4, 8)
CRU_VECTORS(int, int, 8, 16)
CRU_VECTORS(unsigned, uint, 8, 16)
CRU_VECTORS(long long, longlong, 16, 16)
CRU_VECTORS(unsigned long long, ulonglong, 16, 16)
CRU_VECTORS(float, float, 8, 16)
CRU_VECTORS(double, double, 16, 16)

struct dim3 {
  unsigned x, y, z;
  __host__ __device__ constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  __host__ __device__ constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  __host__ __device__ constexpr operator uint3() const { return uint3{x, y, z}; }
};

// threadIdx, blockIdx and the others are properties that read special registers, without memory.
#define CRU_INDEX(type, name, reg)                                                                                   \
  struct type {                                                                                                      \
    __declspec(property(get = get_x)) unsigned x;                                                                    \
    __declspec(property(get = get_y)) unsigned y;                                                                    \
    __declspec(property(get = get_z)) unsigned z;                                                                    \
    CRU_FN unsigned get_x() { return __nvvm_read_ptx_sreg_##reg##_x(); }                                             \
    CRU_FN unsigned get_y() { return __nvvm_read_ptx_sreg_##reg##_y(); }                                             \
    CRU_FN unsigned get_z() { return __nvvm_read_ptx_sreg_##reg##_z(); }                                             \
    __device__ __forceinline__ operator dim3() const { return dim3(x, y, z); }                                       \
    __device__ __forceinline__ operator uint3() const { return uint3{x, y, z}; }                                     \
  };                                                                                                                 \
  extern const __device__ __attribute__((weak)) type name;
CRU_INDEX(cru_thread_index, threadIdx, tid)
CRU_INDEX(cru_block_index, blockIdx, ctaid)
CRU_INDEX(cru_block_dim, blockDim, ntid)
CRU_INDEX(cru_grid_dim, gridDim, nctaid)
constexpr int warpSize = 32;

// Reinterpretation.
CRU_FN int __float_as_int(float v) { return __builtin_bit_cast(int, v); }
CRU_FN unsigned __float_as_uint(float v) { return __builtin_bit_cast(unsigned, v); }
CRU_FN float __int_as_float(int v) { return __builtin_bit_cast(float, v); }
CRU_FN float __uint_as_float(unsigned v) { return __builtin_bit_cast(float, v); }
CRU_FN long long __double_as_longlong(double v) { return __builtin_bit_cast(long long, v); }
CRU_FN double __longlong_as_double(long long v) { return __builtin_bit_cast(double, v); }
CRU_FN double __hiloint2double(int hi, int lo) {
  return __longlong_as_double(static_cast<long long>(hi) << 32 | static_cast<unsigned>(lo));
}
CRU_FN int __double2hiint(double v) { return static_cast<int>(__double_as_longlong(v) >> 32); }
CRU_FN int __double2loint(double v) { return static_cast<int>(__double_as_longlong(v)); }

// Barriers and fences.
CRU_FN void __syncwarp(unsigned mask = 0xffffffffu) { __nvvm_bar_warp_sync(mask); }
CRU_FN int __syncthreads_count(int predicate) {
  int count;
  asm volatile("{ .reg .pred p; setp.ne.s32 p, %1, 0; bar.red.popc.u32 %0, 0, p; }" : "=r"(count) : "r"(predicate) : "memory");
  return count;
}
#define CRU_SYNC_VOTE(name)                                                                                          \
  CRU_FN int __syncthreads_##name(int predicate) {                                                                   \
    int result;                                                                                                      \
    asm volatile("{ .reg .pred p, q; setp.ne.s32 p, %1, 0; bar.red." #name ".pred q, 0, p; selp.s32 %0, 1, 0, q; }"  \
                 : "=r"(result) : "r"(predicate) : "memory");                                                        \
    return result;                                                                                                   \
  }
CRU_SYNC_VOTE(and)
CRU_SYNC_VOTE(or)
CRU_FN void __threadfence_block() { __nvvm_membar_cta(); }
CRU_FN void __threadfence() { __nvvm_membar_gl(); }
CRU_FN void __threadfence_system() { __nvvm_membar_sys(); }

// Shuffles: 32 bits in one instruction, 64 in two.
#define CRU_SHUFFLE(name, mode, operand, last)                                                                       \
  CRU_FN int name(unsigned mask, int v, operand, int width = 32) {                                                   \
    return __nvvm_shfl_sync_##mode##_i32(mask, v, lane, (32 - width) << 8 | last);                                   \
  }                                                                                                                  \
  CRU_FN float name(unsigned mask, float v, operand, int width = 32) {                                               \
    return __nvvm_shfl_sync_##mode##_f32(mask, v, lane, (32 - width) << 8 | last);                                   \
  }                                                                                                                  \
  CRU_FN unsigned name(unsigned mask, unsigned v, operand, int width = 32) {                                         \
    return static_cast<unsigned>(name(mask, static_cast<int>(v), lane, width));                                      \
  }                                                                                                                  \
  CRU_FN unsigned long long name(unsigned mask, unsigned long long v, operand, int width = 32) {                     \
    unsigned low = name(mask, static_cast<unsigned>(v), lane, width);                                                \
    unsigned high = name(mask, static_cast<unsigned>(v >> 32), lane, width);                                         \
    return static_cast<unsigned long long>(high) << 32 | low;                                                        \
  }                                                                                                                  \
  CRU_FN long long name(unsigned mask, long long v, operand, int width = 32) {                                       \
    return static_cast<long long>(name(mask, static_cast<unsigned long long>(v), lane, width));                      \
  }                                                                                                                  \
  CRU_FN long name(unsigned mask, long v, operand, int width = 32) {                                                 \
    return static_cast<long>(name(mask, static_cast<unsigned long long>(v), lane, width));                           \
  }                                                                                                                  \
  CRU_FN unsigned long name(unsigned mask, unsigned long v, operand, int width = 32) {                               \
    return static_cast<unsigned long>(name(mask, static_cast<unsigned long long>(v), lane, width));                  \
  }                                                                                                                  \
  CRU_FN double name(unsigned mask, double v, operand, int width = 32) {                                             \
    return __longlong_as_double(name(mask, __double_as_longlong(v), lane, width));                                   \
  }
CRU_SHUFFLE(__shfl_sync, idx, int lane, 31)
CRU_SHUFFLE(__shfl_up_sync, up, unsigned lane, 0)
CRU_SHUFFLE(__shfl_down_sync, down, unsigned lane, 31)
CRU_SHUFFLE(__shfl_xor_sync, bfly, int lane, 31)

// Votes, matches, warp reductions.
CRU_FN unsigned __activemask() {
  unsigned mask;
  asm volatile("activemask.b32 %0;" : "=r"(mask));
  return mask;
}
CRU_FN unsigned __ballot_sync(unsigned mask, int predicate) { return __nvvm_vote_ballot_sync(mask, predicate != 0); }
CRU_FN int __any_sync(unsigned mask, int predicate) { return __nvvm_vote_any_sync(mask, predicate != 0); }
CRU_FN int __all_sync(unsigned mask, int predicate) { return __nvvm_vote_all_sync(mask, predicate != 0); }
CRU_FN int __uni_sync(unsigned mask, int predicate) { return __nvvm_vote_uni_sync(mask, predicate != 0); }
#define CRU_MATCH(T, bits, letter)                                                                                   \
  CRU_FN unsigned __match_any_sync(unsigned mask, T v) {                                                             \
    unsigned lanes;                                                                                                  \
    asm volatile("match.any.sync.b" #bits " %0, %1, %2;" : "=r"(lanes) : letter(v), "r"(mask));                      \
    return lanes;                                                                                                    \
  }
CRU_MATCH(int, 32, "r")
CRU_MATCH(unsigned, 32, "r")
CRU_MATCH(long long, 64, "l")
CRU_MATCH(unsigned long long, 64, "l")
CRU_FN unsigned __match_any_sync(unsigned mask, float v) { return __match_any_sync(mask, __float_as_uint(v)); }
#define CRU_REDUX(name, op, T, type)                                                                                 \
  CRU_FN T __reduce_##name##_sync(unsigned mask, T v) {                                                              \
    T result;                                                                                                        \
    asm volatile("redux.sync." #op "." #type " %0, %1, %2;" : "=r"(result) : "r"(v), "r"(mask));                     \
    return result;                                                                                                   \
  }
CRU_REDUX(add, add, int, s32)
CRU_REDUX(min, min, int, s32)
CRU_REDUX(max, max, int, s32)
CRU_REDUX(add, add, unsigned, u32)
CRU_REDUX(min, min, unsigned, u32)
CRU_REDUX(max, max, unsigned, u32)
CRU_REDUX(and, and, unsigned, b32)
CRU_REDUX(or, or, unsigned, b32)
CRU_REDUX(xor, xor, unsigned, b32)

// Atomics: relaxed, as CUDA's are; the suffixes name the scope.
#define CRU_ATOMIC(name, builtin, T, suffix, scope)                                                                  \
  CRU_FN T name##suffix(T* p, T v) { return builtin(p, v, __ATOMIC_RELAXED, scope); }
#define CRU_ATOMIC_SCOPES(name, builtin, T)                                                                          \
  CRU_ATOMIC(name, builtin, T, , __MEMORY_SCOPE_DEVICE)                                                              \
  CRU_ATOMIC(name, builtin, T, _block, __MEMORY_SCOPE_WRKGRP)                                                        \
  CRU_ATOMIC(name, builtin, T, _system, __MEMORY_SCOPE_SYSTEM)
#define CRU_ATOMIC_INTEGERS(name, builtin)                                                                           \
  CRU_ATOMIC_SCOPES(name, builtin, int)                                                                              \
  CRU_ATOMIC_SCOPES(name, builtin, unsigned)                                                                         \
  CRU_ATOMIC_SCOPES(name, builtin, long long)                                                                        \
  CRU_ATOMIC_SCOPES(name, builtin, unsigned long long)
CRU_ATOMIC_INTEGERS(atomicAdd, __scoped_atomic_fetch_add)
CRU_ATOMIC_INTEGERS(atomicMin, __scoped_atomic_fetch_min)
CRU_ATOMIC_INTEGERS(atomicMax, __scoped_atomic_fetch_max)
CRU_ATOMIC_INTEGERS(atomicAnd, __scoped_atomic_fetch_and)
CRU_ATOMIC_INTEGERS(atomicOr, __scoped_atomic_fetch_or)
CRU_ATOMIC_INTEGERS(atomicXor, __scoped_atomic_fetch_xor)
CRU_ATOMIC_INTEGERS(atomicExch, __scoped_atomic_exchange_n)
CRU_ATOMIC_SCOPES(atomicAdd, __scoped_atomic_fetch_add, float)
CRU_ATOMIC_SCOPES(atomicAdd, __scoped_atomic_fetch_add, double)
CRU_ATOMIC_SCOPES(atomicSub, __scoped_atomic_fetch_sub, int)
CRU_ATOMIC_SCOPES(atomicSub, __scoped_atomic_fetch_sub, unsigned)
CRU_FN float atomicExch(float* p, float v) {
  return __int_as_float(atomicExch(reinterpret_cast<int*>(p), __float_as_int(v)));
}
CRU_FN unsigned atomicInc(unsigned* p, unsigned limit) { return __nvvm_atom_inc_gen_ui(p, limit); }
CRU_FN unsigned atomicDec(unsigned* p, unsigned limit) { return __nvvm_atom_dec_gen_ui(p, limit); }
#define CRU_CAS(T)                                                                                                   \
  CRU_FN T atomicCAS(T* p, T expected, T desired) {                                                                  \
    __scoped_atomic_compare_exchange_n(p, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED,             \
                                       __MEMORY_SCOPE_DEVICE);                                                       \
    return expected;                                                                                                 \
  }
CRU_CAS(int)
CRU_CAS(unsigned)
CRU_CAS(long long)
CRU_CAS(unsigned long long)

// Loads and stores with a cache policy; the pointer must be to global memory.
#define CRU_LOAD(function, op, T, type, letter, R)                                                                   \
  CRU_FN T function(const T* p) {                                                                                    \
    R v;                                                                                                             \
    asm("ld.global." op "." type " %0, [%1];" : letter(v) : "l"(p));                                                 \
    return static_cast<T>(v);                                                                                        \
  }
#define CRU_LOAD2(function, op, T, type, letter)                                                                     \
  CRU_FN T function(const T* p) {                                                                                    \
    T v;                                                                                                             \
    asm("ld.global." op ".v2." type " {%0, %1}, [%2];" : letter(v.x), letter(v.y) : "l"(p));                         \
    return v;                                                                                                        \
  }
#define CRU_LOAD4(function, op, T, type, letter)                                                                     \
  CRU_FN T function(const T* p) {                                                                                    \
    T v;                                                                                                             \
    asm("ld.global." op ".v4." type " {%0, %1, %2, %3}, [%4];"                                                       \
        : letter(v.x), letter(v.y), letter(v.z), letter(v.w) : "l"(p));                                              \
    return v;                                                                                                        \
  }
#define CRU_LOADS(function, op)                                                                                      \
  CRU_LOAD(function, op, signed char, "s8", "=h", short)                                                             \
  CRU_LOAD(function, op, unsigned char, "u8", "=h", unsigned short)                                                  \
  CRU_LOAD(function, op, short, "s16", "=h", short)                                                                  \
  CRU_LOAD(function, op, unsigned short, "u16", "=h", unsigned short)                                                \
  CRU_LOAD(function, op, int, "s32", "=r", int)                                                                      \
  CRU_LOAD(function, op, unsigned, "u32", "=r", unsigned)                                                            \
  CRU_LOAD(function, op, long long, "s64", "=l", long long)                                                          \
  CRU_LOAD(function, op, unsigned long long, "u64", "=l", unsigned long long)                                        \
  CRU_LOAD(function, op, float, "f32", "=f", float)                                                                  \
  CRU_LOAD(function, op, double, "f64", "=d", double)                                                                \
  CRU_LOAD2(function, op, int2, "s32", "=r")                                                                         \
  CRU_LOAD2(function, op, uint2, "u32", "=r")                                                                        \
  CRU_LOAD2(function, op, float2, "f32", "=f")                                                                       \
  CRU_LOAD2(function, op, double2, "f64", "=d")                                                                      \
  CRU_LOAD4(function, op, int4, "s32", "=r")                                                                         \
  CRU_LOAD4(function, op, uint4, "u32", "=r")                                                                        \
  CRU_LOAD4(function, op, float4, "f32", "=f")
CRU_LOADS(__ldg, "nc")
CRU_LOADS(__ldca, "ca")
CRU_LOADS(__ldcg, "cg")
CRU_LOADS(__ldcs, "cs")
CRU_LOADS(__ldlu, "lu")
CRU_LOADS(__ldcv, "cv")
#define CRU_STORE(function, op, T, type, letter)                                                                     \
  CRU_FN void function(T* p, T v) {                                                                                  \
    asm volatile("st.global." op "." type " [%0], %1;" ::"l"(p), letter(v) : "memory");                              \
  }
#define CRU_STORE2(function, op, T, type, letter)                                                                    \
  CRU_FN void function(T* p, T v) {                                                                                  \
    asm volatile("st.global." op ".v2." type " [%0], {%1, %2};" ::"l"(p), letter(v.x), letter(v.y) : "memory");      \
  }
#define CRU_STORE4(function, op, T, type, letter)                                                                    \
  CRU_FN void function(T* p, T v) {                                                                                  \
    asm volatile("st.global." op ".v4." type " [%0], {%1, %2, %3, %4};"                                              \
                 ::"l"(p), letter(v.x), letter(v.y), letter(v.z), letter(v.w) : "memory");                           \
  }
#define CRU_STORES(function, op)                                                                                     \
  CRU_STORE(function, op, short, "s16", "h")                                                                         \
  CRU_STORE(function, op, unsigned short, "u16", "h")                                                                \
  CRU_STORE(function, op, int, "s32", "r")                                                                           \
  CRU_STORE(function, op, unsigned, "u32", "r")                                                                      \
  CRU_STORE(function, op, long long, "s64", "l")                                                                     \
  CRU_STORE(function, op, unsigned long long, "u64", "l")                                                            \
  CRU_STORE(function, op, float, "f32", "f")                                                                         \
  CRU_STORE(function, op, double, "f64", "d")                                                                        \
  CRU_STORE2(function, op, int2, "s32", "r")                                                                         \
  CRU_STORE2(function, op, uint2, "u32", "r")                                                                        \
  CRU_STORE2(function, op, float2, "f32", "f")                                                                       \
  CRU_STORE2(function, op, double2, "f64", "d")                                                                      \
  CRU_STORE4(function, op, int4, "s32", "r")                                                                         \
  CRU_STORE4(function, op, uint4, "u32", "r")                                                                        \
  CRU_STORE4(function, op, float4, "f32", "f")
CRU_STORES(__stwb, "wb")
CRU_STORES(__stcg, "cg")
CRU_STORES(__stcs, "cs")
CRU_STORES(__stwt, "wt")

// Address spaces.
#define CRU_SPACE(name, number)                                                                                      \
  CRU_FN size_t __cvta_generic_to_##name(const void* p) {                                                            \
    return (size_t)(const void __attribute__((address_space(number)))*)p;                                            \
  }                                                                                                                  \
  CRU_FN void* __cvta_##name##_to_generic(size_t p) {                                                                \
    return (void*)(void __attribute__((address_space(number)))*)p;                                                   \
  }
CRU_SPACE(global, 1)
CRU_SPACE(shared, 3)
CRU_SPACE(constant, 4)
CRU_SPACE(local, 5)
CRU_FN unsigned __isGlobal(const void* p) { return __nvvm_isspacep_global(p); }
CRU_FN unsigned __isShared(const void* p) { return __nvvm_isspacep_shared(p); }
CRU_FN unsigned __isLocal(const void* p) { return __nvvm_isspacep_local(p); }
CRU_FN unsigned __isConstant(const void* p) { return __nvvm_isspacep_const(p); }

#include "clang_math.cuh"

// Memory, time, output and the end of a thread.
CRU_FN void* memcpy(void* to, const void* from, size_t bytes) { return __builtin_memcpy(to, from, bytes); }
CRU_FN void* memset(void* to, int value, size_t bytes) { return __builtin_memset(to, value, bytes); }
CRU_FN long long clock64() { return __nvvm_read_ptx_sreg_clock64(); }
CRU_FN int clock() { return __nvvm_read_ptx_sreg_clock(); }
CRU_FN void __nanosleep(unsigned ns) { asm volatile("nanosleep.u32 %0;" ::"r"(ns)); }
CRU_FN void __trap() { asm volatile("trap;"); }
CRU_FN void __brkpt() { asm volatile("brkpt;"); }
extern "C" __device__ int printf(const char*, ...);
extern "C" __device__ __attribute__((noreturn)) void __assertfail(const char* what, const char* file, unsigned line,
                                                                  const char* function, size_t char_size);
#define assert(condition) \
  ((condition) ? static_cast<void>(0) : __assertfail(#condition, __FILE__, __LINE__, __func__, sizeof(char)))
