// Gathers, scatters and permutations for machines without AVX-512, exchanges between the lanes of a warp, and printf.
#pragma once
#include "lanes.hpp"

template <class T>
inline void gather(const uint8_t* base, const uint32_t* offsets, Lanes lanes, T* result) {
  for (int lane = 0; lane < WARP; ++lane)
    result[lane] = holds(lanes, lane) ? *reinterpret_cast<const T*>(base + offsets[lane]) : 0;
}

template <class T>
inline void scatter(uint8_t* base, const uint32_t* offsets, Lanes lanes, const T* values) {
  for (int lane = 0; lane < WARP; ++lane)
    if (holds(lanes, lane)) *reinterpret_cast<T*>(base + offsets[lane]) = values[lane];
}

extern "C" {
void gather_8(const uint8_t* base, const uint32_t* by, Lanes lanes, uint8_t* result) { gather(base, by, lanes, result); }
void gather_16(const uint8_t* base, const uint32_t* by, Lanes lanes, uint16_t* result) { gather(base, by, lanes, result); }
void gather_32(const uint8_t* base, const uint32_t* by, Lanes lanes, uint32_t* result) { gather(base, by, lanes, result); }
void gather_64(const uint8_t* base, const uint32_t* by, Lanes lanes, uint64_t* result) { gather(base, by, lanes, result); }
void scatter_8(uint8_t* base, const uint32_t* by, Lanes lanes, const uint8_t* values) { scatter(base, by, lanes, values); }
void scatter_16(uint8_t* base, const uint32_t* by, Lanes lanes, const uint16_t* values) { scatter(base, by, lanes, values); }
void scatter_32(uint8_t* base, const uint32_t* by, Lanes lanes, const uint32_t* values) { scatter(base, by, lanes, values); }
void scatter_64(uint8_t* base, const uint32_t* by, Lanes lanes, const uint64_t* values) { scatter(base, by, lanes, values); }
}

extern "C" void permute_32(const uint32_t* values, const uint32_t* sources, uint32_t* result) {
  for (int lane = 0; lane < WARP; ++lane) result[lane] = values[sources[lane] % WARP];
}

// For each lane, which of its members have the same value.
extern "C" void match_lanes(const uint64_t* values, const Lanes* members, Lanes* equal) {
  for (int lane = 0; lane < WARP; ++lane) {
    Lanes matches = 0;
    for (int other = 0; other < WARP; ++other)
      if (holds(members[lane], other) && values[lane] == values[other]) matches |= 1u << other;
    equal[lane] = matches;
  }
}

inline uint32_t reduced(int32_t operation, bool is_signed, uint32_t left, uint32_t right) {
  const bool less = is_signed ? static_cast<int32_t>(left) < static_cast<int32_t>(right) : left < right;
  switch (operation) {
    case Reduction::ADD: return left + right;
    case Reduction::MIN: return less ? left : right;
    case Reduction::MAX: return less ? right : left;
    case Reduction::AND: return left & right;
    case Reduction::OR: return left | right;
    default: return left ^ right;
  }
}

extern "C" void reduce_lanes(int32_t operation, int32_t is_signed, const uint32_t* values, const Lanes* members,
                             uint32_t* result) {
  for (int lane = 0; lane < WARP; ++lane) {
    uint32_t total = 0;
    bool started = false;
    for (int other = 0; other < WARP; ++other) {
      if (!holds(members[lane], other)) continue;
      total = started ? reduced(operation, is_signed, total, values[other]) : values[other];
      started = true;
    }
    result[lane] = total;
  }
}

// The head of the print buffer: the number of calls, and the largest number. One `Printed` per call follows.
struct PrintBuffer {
  int64_t calls, most;
};
static_assert(sizeof(PrintBuffer) == PRINT_HEAD_BYTES);

// Stores a call of printf, which Python formats later: the address of its format, and the bytes of the arguments.
extern "C" void keep_printed(PrintBuffer& buffer, const uint8_t* arena, int64_t arena_size, Lanes lanes, const int64_t* formats,
                             const int64_t* arguments) {
  Printed* records = reinterpret_cast<Printed*>(&buffer + 1);
  for (int lane = 0; lane < WARP; ++lane) {
    if (!holds(lanes, lane) || buffer.calls >= buffer.most) continue;
    Printed& call = records[buffer.calls++];
    call.format = formats[lane];
    call.lane = lane;
    const int64_t source = arguments[lane] - ADDRESS_BIAS;
    if (source < 0 || source > arena_size - PRINT_ARGUMENT_BYTES) continue;
    for (int64_t word = 0; word < PRINT_ARGUMENT_BYTES / 8; ++word)
      call.arguments[word] = reinterpret_cast<const int64_t*>(arena + source)[word];
  }
}
