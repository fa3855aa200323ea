// The 32 lanes of a warp as bits, and the few things that every file needs.
#pragma once

constexpr int WARP = 32;
typedef uint32_t Lanes;

inline bool holds(Lanes lanes, int lane) { return lanes >> lane & 1; }
inline int count(Lanes lanes) { return __builtin_popcount(lanes); }

template <class T>
inline T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
inline T larger(T a, T b) {
  return a < b ? b : a;
}

// Python hands over addresses as numbers.
template <class T>
inline T* at(int64_t address) {
  return reinterpret_cast<T*>(address);
}
