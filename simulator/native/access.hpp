// One access of a warp, checked: bounds, alignment, initialisation, order after earlier accesses, and costs.
//
// Shadow memory holds a byte per byte of the arena, made of the bits of `Shadow`. history.hpp holds
// the earlier accesses. A few loops over the lanes, without calls, accept nearly every access of a correct kernel. The other
// accesses go, lane by lane, to functions that apply all rules and report.
#pragma once
#include "history.hpp"
#include "traffic.hpp"

// An access as all lanes make it.
struct Request {
  int32_t index, access;
  Lanes lanes;
  int64_t size;
  const int64_t* offsets;
  int64_t first;  // the offset of the lowest lane

  bool is(int32_t kind) const { return access & kind; }
  // A lane's offset; inactive lanes repeat the first.
  int64_t offset(int lane) const { return holds(lanes, lane) ? offsets[lane] : first; }
};

inline Request make_request(int32_t index, int32_t access, Lanes lanes, int64_t size, const int64_t* offsets) {
  return {index, access, lanes, size, offsets, offsets[__builtin_ctz(lanes)]};
}

struct Bounds {
  int64_t low, high;  // of an offset
};

inline Bounds bounds(const Checker& check, const Request& request) {
  if (request.is(Access::SHARED)) return {check.shared_start, check.shared_end - request.size};
  return {0, check.arena_size - request.size};
}

inline bool is_power_of_two(int64_t size) { return !(size & (size - 1)); }

constexpr uint32_t in_each_byte(uint32_t bits) { return bits * 0x01010101u; }

// Whether all bytes may be accessed so and there is nothing to report; a write then initialises them.
static bool is_plain(const Checker& check, const Request& request) {
  const Bounds inside = bounds(check, request);
  int64_t least = request.first, most = request.first, bits = 0;
  for (int lane = 0; lane < WARP; ++lane) {
    const int64_t offset = request.offset(lane);
    least = smaller(least, offset);
    most = larger(most, offset);
    bits |= offset;
  }
  const int64_t size = request.size;
  if (!is_power_of_two(size) || bits & (size - 1) || least < inside.low || most > inside.high) return false;
  constexpr uint32_t READ_EXPECTED = in_each_byte(Shadow::VALID | Shadow::INITIALISED);
  constexpr uint32_t READ_MASK = in_each_byte(Shadow::VALID | Shadow::INITIALISED | Shadow::IN_FLIGHT);
  constexpr uint32_t WRITE_EXPECTED = in_each_byte(Shadow::VALID);
  constexpr uint32_t WRITE_MASK = in_each_byte(Shadow::VALID | Shadow::READ_ONLY | Shadow::IN_FLIGHT);
  constexpr uint32_t INITIALISED = in_each_byte(Shadow::INITIALISED);
  const bool writes = request.is(Access::WRITE), atomic = request.is(Access::ATOMIC);
  const uint32_t expected = writes && !atomic ? WRITE_EXPECTED : READ_EXPECTED;
  const uint32_t mask = atomic ? READ_MASK | WRITE_MASK : writes ? WRITE_MASK : READ_MASK;
  uint32_t* words = at<uint32_t>(check.shadow);
  uint32_t wrong = 0, known = INITIALISED;
  if (size < 4) {
    const uint32_t part = (1u << 8 * size) - 1;
    for (int lane = 0; lane < WARP; ++lane) {
      const int64_t offset = request.offset(lane);
      wrong |= (words[offset >> 2] ^ expected) & mask & part << 8 * (offset & 3);
    }
    if (!wrong && writes) {
      for (int lane = 0; lane < WARP; ++lane) {
        const int64_t offset = request.offset(lane);
        words[offset >> 2] |= INITIALISED & part << 8 * (offset & 3);
      }
    }
    return !wrong;
  }
  for (int place = 0; place < size >> 2; ++place) {
    for (int lane = 0; lane < WARP; ++lane) {
      const uint32_t word = words[(request.offset(lane) >> 2) + place];
      wrong |= (word ^ expected) & mask;
      known &= word;
    }
  }
  if (!wrong && writes && known != INITIALISED)
    for (int place = 0; place < size >> 2; ++place)
      for (int lane = 0; lane < WARP; ++lane) words[(request.offset(lane) >> 2) + place] |= INITIALISED;
  return !wrong;
}

// Returns the missing bits (VALID, INITIALISED) and the forbidding bits (READ_ONLY, IN_FLIGHT); a write initialises.
static int32_t shadow_of(uint8_t* shadow, int64_t offset, int64_t size, bool write) {
  int32_t state_bits = 0;
  for (int64_t place = offset; place < offset + size; ++place) {
    const uint8_t byte = shadow[place];
    state_bits |= byte & Shadow::IN_FLIGHT;
    if (!(byte & Shadow::VALID)) {
      state_bits |= Shadow::VALID;
    } else if (write) {
      shadow[place] = byte | Shadow::INITIALISED;
      state_bits |= byte & Shadow::READ_ONLY;
    } else if (!(byte & Shadow::INITIALISED)) {
      state_bits |= Shadow::INITIALISED;
    }
  }
  return state_bits;
}

// Reports the faults that shadow memory shows; returns whether the access must not happen.
static bool report_memory(Checker& check, const Request& request, int64_t thread, int64_t offset, int32_t state_bits) {
  const auto report_code = [&](int32_t code) { report(check, code, request.index, -1, thread, -1, offset, request.size); };
  if (state_bits & (Shadow::VALID | Shadow::READ_ONLY)) {
    report_code(state_bits & Shadow::VALID ? Code::OUT_OF_BOUNDS : Code::READ_ONLY);
    return true;
  }
  if (state_bits & Shadow::IN_FLIGHT) report_code(Code::MISSING_WAIT);
  const bool shared = check.shared_start <= offset && offset < check.shared_end;
  if (state_bits & Shadow::INITIALISED) report_code(shared ? Code::UNINITIALISED_SHARED : Code::UNINITIALISED);
  return false;
}

// Checks each lane's bytes; returns whether the access must not happen.
[[gnu::noinline, gnu::cold]] static bool is_forbidden(Checker& check, const Request& request, int64_t warp) {
  uint8_t* shadow = at<uint8_t>(check.shadow);
  const Bounds inside = bounds(check, request);
  const int64_t uneven = is_power_of_two(request.size) ? request.size - 1 : 0;
  for (int lane = 0; lane < WARP; ++lane) {
    if (!holds(request.lanes, lane)) continue;
    const int64_t offset = request.offsets[lane], thread = thread_number(check, WARP * warp + lane);
    if (offset & uneven) {
      report(check, Code::MISALIGNED, request.index, -1, thread, -1, offset, request.size);
      return true;
    }
    int32_t state_bits = Shadow::VALID;
    if (inside.low <= offset && offset <= inside.high) {
      state_bits = request.is(Access::ATOMIC) ? shadow_of(shadow, offset, request.size, false) & Shadow::INITIALISED : 0;
      state_bits |= shadow_of(shadow, offset, request.size, request.is(Access::WRITE));
    }
    if (state_bits && report_memory(check, request, thread, offset, state_bits)) return true;
  }
  return false;
}

// Counts a request; returns whether it goes to shared memory.
static bool count_request(Checker& check, const Request& request) {
  const bool shared = check.shared_start <= request.first && request.first < check.shared_end;
  const int64_t place = 2 * request.index + shared;
  const Turns turns =
      turns_of(at<Pattern>(check.patterns)[place], shared, request.lanes, request.first, request.size, request.offsets);
  const int64_t active = count(request.lanes);
  Counter& counter = at<Counter>(check.counters)[place];
  counter.requests += 1;
  counter.lanes += active;
  counter.turns += turns.actual;
  counter.ideal += turns.ideal;
  counter.bytes += active * request.size;
  return shared;
}

// Releases and acquires, where an access does.
static void synchronise(Checker& check, const Request& request, int warp, int lane, int64_t offset) {
  if (request.is(Access::ATOMIC) || !request.is(Access::WRITE)) acquire(check, warp, offset);
  if (!request.is(Access::WRITE)) return;
  if (request.is(Access::RELEASE)) fence(check, warp, lane, request.is(Access::BLOCK_SCOPE) ? BLOCK_SCOPE : DEVICE_SCOPE);
  release(check, warp, lane, offset, request.index);
}

// Checks a load, an atomic or the write of a copy; a true result ends the launch.
extern "C" int32_t check_access(const Header& state, Checker& check, int32_t index, int32_t access, Lanes lanes, int32_t size,
                                const int64_t* offsets) {
  if (!lanes) return 0;
  const Request request = make_request(index, access, lanes, size, offsets);
  if (!is_plain(check, request) && is_forbidden(check, request, state.warp)) return 1;
  const bool shared = count_request(check, request), strong = request.is(Access::STRONG);
  if (request.is(Access::LOCAL)) return 0;
  if (!request.is(Access::STRONG | Access::WRITE)) {
    enter_reads(check, state.warp, index, strong, lanes, size, offsets, shared);
    return 0;
  }
  for (int lane = 0; lane < WARP; ++lane) {
    if (!holds(lanes, lane) || offsets[lane] >= check.local_start) continue;
    if (strong) synchronise(check, request, state.warp, lane, offsets[lane]);
    if (request.is(Access::WRITE))
      enter_write(check, state.warp, lane, index, strong, offsets[lane], size, shared, false);
    else
      enter_reads(check, state.warp, index, strong, 1u << lane, size, offsets, shared);
  }
  return 0;
}

// Writes a lane's elements, at distances of 256 bytes; returns whether they were there already.
template <class T>
inline bool store_elements(uint8_t* memory, const uint8_t* values, int elements) {
  T* there = reinterpret_cast<T*>(memory);
  bool same = true;
  for (int element = 0; element < elements; ++element) {
    const T value = reinterpret_cast<const T*>(values + 256 * element)[0];
    same = same && there[element] == value;
    there[element] = value;
  }
  return same;
}
static bool store_lane(uint8_t* memory, const uint8_t* values, int element_bytes, int elements) {
  switch (element_bytes) {
    case 1: return store_elements<uint8_t>(memory, values, elements);
    case 2: return store_elements<uint16_t>(memory, values, elements);
    case 4: return store_elements<uint32_t>(memory, values, elements);
    default: return store_elements<uint64_t>(memory, values, elements);
  }
}

// Checks a store and carries it out; a true result ends the launch.
extern "C" int32_t check_store(const Header& state, Checker& check, int32_t index, int32_t access, Lanes lanes,
                               int32_t element_bytes, int32_t elements, const int64_t* offsets, const uint8_t* values) {
  if (!lanes) return 0;
  const Request request = make_request(index, access, lanes, int64_t(element_bytes) * elements, offsets);
  if (!is_plain(check, request) && is_forbidden(check, request, state.warp)) return 1;
  const bool shared = count_request(check, request), strong = request.is(Access::STRONG);
  for (int lane = 0; lane < WARP; ++lane) {
    if (!holds(lanes, lane)) continue;
    const int64_t offset = offsets[lane];
    const bool same = store_lane(at<uint8_t>(state.arena) + offset, values + lane * element_bytes, element_bytes, elements);
    if (request.is(Access::LOCAL) || offset >= check.local_start) continue;
    if (strong) synchronise(check, request, state.warp, lane, offset);
    enter_write(check, state.warp, lane, index, strong, offset, request.size, shared, same);
  }
  return 0;
}
