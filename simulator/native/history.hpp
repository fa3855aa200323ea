// The history of memory: the last write and reads of each granule, and whether the next access is ordered after them.
//
// Three stamps per granule, its last write and two of its last reads by different threads, and the two instructions.
#pragma once
#include "order.hpp"

// A stamp holds the thread and the epoch of an access; zero: no access. From
// the top: block + 1, thread, epoch, a bit for strong accesses.
constexpr int EPOCH_SHIFT = 1, THREAD_SHIFT = 29, WARP_SHIFT = 34, BLOCK_SHIFT = 39;
constexpr int64_t EPOCH_MASK = (1 << 28) - 1;

inline int64_t stamp_of(int64_t block, int64_t thread, int64_t epoch, bool strong) {
  return (block + 1) << BLOCK_SHIFT | thread << THREAD_SHIFT | epoch << EPOCH_SHIFT | int64_t(strong);
}
inline int64_t block_of(int64_t stamp) { return (stamp >> BLOCK_SHIFT) - 1; }
inline int64_t thread_of(int64_t stamp) { return stamp >> THREAD_SHIFT & (THREADS - 1); }
inline int64_t epoch_of(int64_t stamp) { return stamp >> EPOCH_SHIFT & EPOCH_MASK; }
inline int64_t who(int64_t stamp) { return block_of(stamp) * THREADS + thread_of(stamp); }

static bool ordered_after(const Checker& check, int64_t stamp, int64_t warp, int lane, bool shared) {
  return is_ordered(check, warp, lane, block_of(stamp), thread_of(stamp), epoch_of(stamp), shared);
}

// An access as one lane makes it.
struct Step {
  int64_t warp;
  int lane;
  int64_t stamp, index;
  bool strong, shared;
  int64_t offset, size;
};

// Compares a write with a granule's last write and reads, and enters it.
[[gnu::noinline, gnu::cold]] static void compare_write(Checker& check, Granule& granule, const Step& step, bool same) {
  const int64_t written = granule.written;
  if (written && !(step.strong && written & 1) && !ordered_after(check, written, step.warp, step.lane, step.shared))
    report(check, same ? Code::SAME_VALUE_RACE : Code::RACE, step.index, granule.writer, who(step.stamp), who(written),
           step.offset, step.size);
  for (int64_t& read : granule.read) {
    if (read && !(step.strong && read & 1) && !ordered_after(check, read, step.warp, step.lane, step.shared))
      report(check, Code::RACE, step.index, granule.reader, who(step.stamp), who(read), step.offset, step.size);
    read = 0;
  }
  granule.written = step.stamp;
  granule.writer = step.index;
}

// Compares a read with a granule's last write, and keeps it beside one read by another thread.
[[gnu::noinline, gnu::cold]] static void compare_read(Checker& check, Granule& granule, const Step& step) {
  const int64_t written = granule.written, first = granule.read[0];
  if (written && !(step.strong && written & 1) && !ordered_after(check, written, step.warp, step.lane, step.shared))
    report(check, Code::RACE, step.index, granule.writer, who(step.stamp), who(written), step.offset, step.size);
  if (!first || who(first) == who(step.stamp) || ordered_after(check, first, step.warp, step.lane, step.shared)) {
    granule.read[0] = step.stamp;
    granule.reader = step.index;
  } else {
    granule.read[1] = step.stamp;
  }
}

// The accesses that barriers order before a warp's next access.
struct BarrierOrder {
  int64_t base, warp_base;
  bool shared;

  // Whether there is no earlier access, or it is one of the lane itself, or barriers order it before the whole warp. Blocks do
  // not share shared memory. If the block has synchronised by barriers alone (not `Checker::learned`), false means that the
  // accesses are not ordered.
  bool covers(int64_t stamp, int64_t mine) const {
    if (stamp >> BLOCK_SHIFT == mine >> BLOCK_SHIFT) {
      const int64_t epoch = epoch_of(stamp);
      if (epoch < base) return true;
      return stamp >> WARP_SHIFT == mine >> WARP_SHIFT && (epoch < warp_base || stamp >> THREAD_SHIFT == mine >> THREAD_SHIFT);
    }
    return stamp == 0 || shared;
  }
};

// Compares each lane's read with the history of every granule it touches; a repeated read in the same epoch is skipped.
static void enter_reads(Checker& check, int64_t warp, int64_t index, bool strong, Lanes lanes, int64_t size,
                        const int64_t* offsets, bool shared) {
  Granule* history = at<Granule>(check.granules);
  const BarrierOrder barriers = {check.base[warp], check.warp_base[warp], shared};
  const int64_t block = check.block, shift = check.granule_shift, local_start = check.local_start;  // in registers
  const bool learned = check.learned;
  int64_t last = -1;
  int repeats = 0;
  for (int lane = 0; lane < WARP; ++lane) {
    const int64_t offset = offsets[lane];
    if (!holds(lanes, lane) || offset >= local_start) continue;
    repeats = offset == last ? repeats + 1 : 0;  // of lanes that read the same place, two expose every conflict
    last = offset;
    if (repeats > 1) continue;
    const int64_t thread = WARP * warp + lane, stamp = stamp_of(block, thread, check.clock[thread], strong);
    const int64_t end = (offset + size - 1) >> shift;
    for (int64_t place = offset >> shift; place <= end; ++place) {
      Granule& granule = history[place];
      if (granule.read[0] == stamp || granule.read[1] == stamp) continue;
      if (!barriers.covers(granule.written, stamp)) {
        compare_read(check, granule, {warp, lane, stamp, index, strong, shared, offset, size});
      } else if (barriers.covers(granule.read[0], stamp)) {
        granule.read[0] = stamp;
        granule.reader = index;
      } else if (!learned) {
        granule.read[1] = stamp;
      } else {
        compare_read(check, granule, {warp, lane, stamp, index, strong, shared, offset, size});
      }
    }
  }
}

// Compares one lane's write with the history of every granule it touches, and enters it there; `same`: the value was there.
inline void enter_write(Checker& check, int64_t warp, int lane, int64_t index, bool strong, int64_t offset, int64_t size,
                        bool shared, bool same) {
  Granule* history = at<Granule>(check.granules);
  const BarrierOrder barriers = {check.base[warp], check.warp_base[warp], shared};
  const int64_t thread = WARP * warp + lane, stamp = stamp_of(check.block, thread, check.clock[thread], strong);
  const int64_t end = (offset + size - 1) >> check.granule_shift;
  for (int64_t place = offset >> check.granule_shift; place <= end; ++place) {
    Granule& granule = history[place];
    bool known = barriers.covers(granule.written, stamp);
    if (granule.read[0] || granule.read[1])
      known = known && barriers.covers(granule.read[0], stamp) && barriers.covers(granule.read[1], stamp);
    else if (granule.written == stamp)
      continue;
    if (known) {
      granule.written = stamp;
      granule.read[0] = granule.read[1] = 0;
      granule.writer = index;
    } else {
      compare_write(check, granule, {warp, lane, stamp, index, strong, shared, offset, size}, same);
    }
  }
}
