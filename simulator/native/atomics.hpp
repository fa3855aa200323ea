// Atomic operations on the arena, lane after lane.
#pragma once
#include "lanes.hpp"

// The value after an operation on integers; they are compared as `Ordered`.
template <class Ordered, class T>
inline T combined(int32_t operation, T old, T operand, T other) {
  const bool less = static_cast<Ordered>(old) < static_cast<Ordered>(operand);
  switch (operation) {
    case Atomic::ADD: return old + operand;
    case Atomic::MIN: return less ? old : operand;
    case Atomic::MAX: return less ? operand : old;
    case Atomic::EXCH: return operand;
    case Atomic::CAS: return old == operand ? other : old;
    case Atomic::AND: return old & operand;
    case Atomic::OR: return old | operand;
    case Atomic::XOR: return old ^ operand;
    case Atomic::INC: return old >= operand ? 0 : old + 1;
    default: return old == 0 || old > operand ? operand : old - 1;  // DEC
  }
}

template <class T, class Ordered = T>
inline uint64_t on_integer(int32_t operation, uint8_t* place, uint64_t operand, uint64_t other) {
  T& there = *reinterpret_cast<T*>(place);
  const T old = there;
  there = combined<Ordered, T>(operation, old, operand, other);
  return old;
}

// Floats are added or exchanged.
template <class Float, class T>
inline uint64_t on_float(int32_t operation, uint8_t* place, uint64_t operand) {
  const T bits = operand, old = *reinterpret_cast<T*>(place);
  if (operation == Atomic::ADD)
    *reinterpret_cast<Float*>(place) += *reinterpret_cast<const Float*>(&bits);
  else
    *reinterpret_cast<T*>(place) = bits;
  return old;
}

extern "C" void apply_atomic(int32_t operation, int32_t kind, uint8_t* arena, Lanes lanes, const int64_t* offsets,
                             const uint64_t* operand, const uint64_t* other, uint64_t* old) {
  for (int lane = 0; lane < WARP; ++lane) {
    if (!holds(lanes, lane)) continue;
    uint8_t* place = arena + offsets[lane];
    const uint64_t a = operand[lane], b = other[lane];
    switch (kind) {
      case Kind::F32: old[lane] = on_float<float, uint32_t>(operation, place, a); break;
      case Kind::F64: old[lane] = on_float<double, uint64_t>(operation, place, a); break;
      case Kind::S32: old[lane] = on_integer<uint32_t, int32_t>(operation, place, a, b); break;
      case Kind::S64: old[lane] = on_integer<uint64_t, int64_t>(operation, place, a, b); break;
      case Kind::U64:
      case Kind::B64: old[lane] = on_integer<uint64_t>(operation, place, a, b); break;
      case Kind::B16: old[lane] = on_integer<uint16_t>(operation, place, a, b); break;
      default: old[lane] = on_integer<uint32_t>(operation, place, a, b);
    }
  }
}
