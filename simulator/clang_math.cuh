// Integers, mathematics and arithmetic with a given rounding, as the CUDA Math API has them; a part of clang_builtins.cuh.
#pragma once

// Integers.
CRU_FN int __popc(unsigned v) { return __builtin_popcount(v); }
CRU_FN int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
CRU_FN int __clz(int v) { return v ? __builtin_clz(v) : 32; }
CRU_FN int __clzll(long long v) { return v ? __builtin_clzll(v) : 64; }
CRU_FN int __ffs(int v) { return __builtin_ffs(v); }
CRU_FN int __ffsll(long long v) { return __builtin_ffsll(v); }
CRU_FN unsigned __brev(unsigned v) { return __builtin_bitreverse32(v); }
CRU_FN unsigned long long __brevll(unsigned long long v) { return __builtin_bitreverse64(v); }
CRU_FN int __mulhi(int a, int b) { return __nvvm_mulhi_i(a, b); }
CRU_FN unsigned __umulhi(unsigned a, unsigned b) { return __nvvm_mulhi_ui(a, b); }
CRU_FN long long __mul64hi(long long a, long long b) { return __nvvm_mulhi_ll(a, b); }
CRU_FN unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return __nvvm_mulhi_ull(a, b); }
CRU_FN int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }
CRU_FN unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffffu) * (b & 0xffffffu); }
CRU_FN unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) { return __nvvm_prmt(a, b, selector); }
#define CRU_FUNNEL(name, op)                                                                                         \
  CRU_FN unsigned name(unsigned low, unsigned high, unsigned shift) {                                                \
    unsigned result;                                                                                                 \
    asm("shf." op ".b32 %0, %1, %2, %3;" : "=r"(result) : "r"(low), "r"(high), "r"(shift));                          \
    return result;                                                                                                   \
  }
CRU_FUNNEL(__funnelshift_l, "l.wrap")
CRU_FUNNEL(__funnelshift_lc, "l.clamp")
CRU_FUNNEL(__funnelshift_r, "r.wrap")
CRU_FUNNEL(__funnelshift_rc, "r.clamp")

// min, max and abs for mixed types.
#define CRU_MINMAX(T)                                                                                                \
  CRU_FN T min(T a, T b) { return b < a ? b : a; }                                                                   \
  CRU_FN T max(T a, T b) { return a < b ? b : a; }
#define CRU_MINMAX_MIXED(A, B, T)                                                                                    \
  CRU_FN T min(A a, B b) { return min(static_cast<T>(a), static_cast<T>(b)); }                                       \
  CRU_FN T max(A a, B b) { return max(static_cast<T>(a), static_cast<T>(b)); }                                       \
  CRU_FN T min(B a, A b) { return min(static_cast<T>(a), static_cast<T>(b)); }                                       \
  CRU_FN T max(B a, A b) { return max(static_cast<T>(a), static_cast<T>(b)); }
CRU_MINMAX(int)
CRU_MINMAX(unsigned)
CRU_MINMAX(long)
CRU_MINMAX(unsigned long)
CRU_MINMAX(long long)
CRU_MINMAX(unsigned long long)
CRU_MINMAX_MIXED(int, unsigned, unsigned)
CRU_MINMAX_MIXED(long, unsigned long, unsigned long)
CRU_MINMAX_MIXED(long long, unsigned long long, unsigned long long)
CRU_FN float min(float a, float b) { return __builtin_fminf(a, b); }
CRU_FN float max(float a, float b) { return __builtin_fmaxf(a, b); }
CRU_FN double min(double a, double b) { return __builtin_fmin(a, b); }
CRU_FN double max(double a, double b) { return __builtin_fmax(a, b); }
CRU_MINMAX_MIXED(float, double, double)
CRU_FN int abs(int v) { return v < 0 ? -v : v; }
CRU_FN long abs(long v) { return v < 0 ? -v : v; }
CRU_FN long long abs(long long v) { return v < 0 ? -v : v; }
CRU_FN long long llabs(long long v) { return v < 0 ? -v : v; }
CRU_FN float abs(float v) { return __builtin_fabsf(v); }
CRU_FN double abs(double v) { return __builtin_fabs(v); }

// Mathematics that becomes PTX: fnf(float), fn(double) and fn(float).
#define CRU_MATH1(name)                                                                                              \
  CRU_FN float name##f(float a) { return __builtin_##name##f(a); }                                                   \
  CRU_FN double name(double a) { return __builtin_##name(a); }                                                       \
  CRU_FN float name(float a) { return __builtin_##name##f(a); }
#define CRU_MATH2(name)                                                                                              \
  CRU_FN float name##f(float a, float b) { return __builtin_##name##f(a, b); }                                       \
  CRU_FN double name(double a, double b) { return __builtin_##name(a, b); }                                          \
  CRU_FN float name(float a, float b) { return __builtin_##name##f(a, b); }
CRU_MATH1(fabs)
CRU_MATH1(floor)
CRU_MATH1(ceil)
CRU_MATH1(trunc)
CRU_MATH1(rint)
CRU_MATH1(nearbyint)
CRU_MATH1(round)
CRU_MATH1(sqrt)
CRU_MATH2(fmin)
CRU_MATH2(fmax)
CRU_MATH2(copysign)
CRU_FN float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
CRU_FN double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
CRU_FN float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
CRU_FN float fdimf(float a, float b) { return a > b ? a - b : 0.0f; }
CRU_FN double fdim(double a, double b) { return a > b ? a - b : 0.0; }
CRU_FN float rsqrtf(float v) { return __nvvm_rsqrt_approx_f(v); }
CRU_FN float rsqrt(float v) { return __nvvm_rsqrt_approx_f(v); }
CRU_FN double rsqrt(double v) { return __nvvm_rsqrt_approx_d(v); }
CRU_FN bool isnan(float v) { return __builtin_isnan(v); }
CRU_FN bool isnan(double v) { return __builtin_isnan(v); }
CRU_FN bool isinf(float v) { return __builtin_isinf(v); }
CRU_FN bool isinf(double v) { return __builtin_isinf(v); }
CRU_FN bool isfinite(float v) { return __builtin_isfinite(v); }
CRU_FN bool isfinite(double v) { return __builtin_isfinite(v); }
CRU_FN bool signbit(float v) { return __float_as_int(v) < 0; }
CRU_FN bool signbit(double v) { return __double_as_longlong(v) < 0; }

// Mathematics by libm of the CPU.
#define CRU_HOST1(name)                                                                                              \
  extern "C" __device__ __attribute__((const)) float __nv_##name##f(float);                                          \
  extern "C" __device__ __attribute__((const)) double __nv_##name(double);                                           \
  CRU_FN float name##f(float a) { return __nv_##name##f(a); }                                                        \
  CRU_FN double name(double a) { return __nv_##name(a); }                                                            \
  CRU_FN float name(float a) { return __nv_##name##f(a); }
#define CRU_HOST2(name)                                                                                              \
  extern "C" __device__ __attribute__((const)) float __nv_##name##f(float, float);                                   \
  extern "C" __device__ __attribute__((const)) double __nv_##name(double, double);                                   \
  CRU_FN float name##f(float a, float b) { return __nv_##name##f(a, b); }                                            \
  CRU_FN double name(double a, double b) { return __nv_##name(a, b); }                                               \
  CRU_FN float name(float a, float b) { return __nv_##name##f(a, b); }
CRU_HOST1(exp)
CRU_HOST1(exp2)
CRU_HOST1(exp10)
CRU_HOST1(expm1)
CRU_HOST1(log)
CRU_HOST1(log2)
CRU_HOST1(log10)
CRU_HOST1(log1p)
CRU_HOST1(sin)
CRU_HOST1(cos)
CRU_HOST1(tan)
CRU_HOST1(asin)
CRU_HOST1(acos)
CRU_HOST1(atan)
CRU_HOST1(sinh)
CRU_HOST1(cosh)
CRU_HOST1(tanh)
CRU_HOST1(erf)
CRU_HOST1(erfc)
CRU_HOST1(cbrt)
CRU_HOST2(pow)
CRU_HOST2(fmod)
CRU_HOST2(atan2)
CRU_HOST2(hypot)
CRU_FN void sincosf(float v, float* s, float* c) { *s = sinf(v); *c = cosf(v); }
CRU_FN void sincos(double v, double* s, double* c) { *s = sin(v); *c = cos(v); }

// Fast approximations: one or two special-function instructions.
CRU_FN float __expf(float v) { return __nvvm_ex2_approx_f(v * 1.4426950408889634f); }
CRU_FN float __exp10f(float v) { return __nvvm_ex2_approx_f(v * 3.3219280948873623f); }
CRU_FN float __log2f(float v) { return __nvvm_lg2_approx_f(v); }
CRU_FN float __logf(float v) { return __nvvm_lg2_approx_f(v) * 0.6931471805599453f; }
CRU_FN float __log10f(float v) { return __nvvm_lg2_approx_f(v) * 0.3010299956639812f; }
CRU_FN float __powf(float a, float b) { return __nvvm_ex2_approx_f(b * __nvvm_lg2_approx_f(a)); }
CRU_FN float __sinf(float v) { return __nvvm_sin_approx_f(v); }
CRU_FN float __cosf(float v) { return __nvvm_cos_approx_f(v); }
CRU_FN float __fdividef(float a, float b) { return __nvvm_div_approx_f(a, b); }
CRU_FN float __tanf(float v) { return __fdividef(__sinf(v), __cosf(v)); }
CRU_FN void __sincosf(float v, float* s, float* c) { *s = __sinf(v); *c = __cosf(v); }
CRU_FN float __tanhf(float v) {
  float result;
  asm("tanh.approx.f32 %0, %1;" : "=f"(result) : "f"(v));
  return result;
}
CRU_FN float __saturatef(float v) { return __nvvm_saturate_f(v); }
CRU_FN float __frsqrt_rn(float v) { return __nvvm_rsqrt_approx_f(v); }

// Arithmetic with a given rounding, never contracted. Up and down are ru and rd in CUDA, rp and rm in PTX.
#define CRU_ROUND(mode, ptx)                                                                                         \
  CRU_FN float __fadd_##mode(float a, float b) { return __nvvm_add_##ptx##_f(a, b); }                                \
  CRU_FN float __fsub_##mode(float a, float b) { return __nvvm_add_##ptx##_f(a, -b); }                               \
  CRU_FN float __fmul_##mode(float a, float b) { return __nvvm_mul_##ptx##_f(a, b); }                                \
  CRU_FN float __fmaf_##mode(float a, float b, float c) { return __nvvm_fma_##ptx##_f(a, b, c); }                    \
  CRU_FN float __fdiv_##mode(float a, float b) { return __nvvm_div_##ptx##_f(a, b); }                                \
  CRU_FN float __frcp_##mode(float v) { return __nvvm_rcp_##ptx##_f(v); }                                            \
  CRU_FN float __fsqrt_##mode(float v) { return __nvvm_sqrt_##ptx##_f(v); }                                          \
  CRU_FN double __dadd_##mode(double a, double b) { return __nvvm_add_##ptx##_d(a, b); }                             \
  CRU_FN double __dsub_##mode(double a, double b) { return __nvvm_add_##ptx##_d(a, -b); }                            \
  CRU_FN double __dmul_##mode(double a, double b) { return __nvvm_mul_##ptx##_d(a, b); }                             \
  CRU_FN double __fma_##mode(double a, double b, double c) { return __nvvm_fma_##ptx##_d(a, b, c); }                 \
  CRU_FN double __ddiv_##mode(double a, double b) { return __nvvm_div_##ptx##_d(a, b); }                             \
  CRU_FN double __drcp_##mode(double v) { return __nvvm_rcp_##ptx##_d(v); }                                          \
  CRU_FN double __dsqrt_##mode(double v) { return __nvvm_sqrt_##ptx##_d(v); }                                        \
  CRU_FN float __double2float_##mode(double v) { return __nvvm_d2f_##ptx(v); }                                       \
  CRU_FN int __float2int_##mode(float v) { return __nvvm_f2i_##ptx(v); }                                             \
  CRU_FN unsigned __float2uint_##mode(float v) { return __nvvm_f2ui_##ptx(v); }                                      \
  CRU_FN long long __float2ll_##mode(float v) { return __nvvm_f2ll_##ptx(v); }                                       \
  CRU_FN unsigned long long __float2ull_##mode(float v) { return __nvvm_f2ull_##ptx(v); }                            \
  CRU_FN int __double2int_##mode(double v) { return __nvvm_d2i_##ptx(v); }                                           \
  CRU_FN unsigned __double2uint_##mode(double v) { return __nvvm_d2ui_##ptx(v); }                                    \
  CRU_FN long long __double2ll_##mode(double v) { return __nvvm_d2ll_##ptx(v); }                                     \
  CRU_FN float __int2float_##mode(int v) { return __nvvm_i2f_##ptx(v); }                                             \
  CRU_FN float __uint2float_##mode(unsigned v) { return __nvvm_ui2f_##ptx(v); }                                      \
  CRU_FN float __ll2float_##mode(long long v) { return __nvvm_ll2f_##ptx(v); }                                       \
  CRU_FN double __ll2double_##mode(long long v) { return __nvvm_ll2d_##ptx(v); }
CRU_ROUND(rn, rn)
CRU_ROUND(rz, rz)
CRU_ROUND(ru, rp)
CRU_ROUND(rd, rm)
CRU_FN double __int2double_rn(int v) { return v; }
CRU_FN double __uint2double_rn(unsigned v) { return v; }
