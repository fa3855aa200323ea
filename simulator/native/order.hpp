// The order of accesses: epochs, the epochs of others that each warp and lane knows, barriers, fences, release and acquire.
//
// A thread's epoch grows at each synchronisation: barriers, warp barriers and fences. An access is stamped
// with its thread's epoch; it is ordered before another thread's if that thread knows the epoch (FastTrack, Flanagan and
// Freund, PLDI 2009, with knowledge kept per warp where lanes cannot differ).
//
// Blocks run one after another, so only releases order accesses of different blocks: a fence and then an atomic (or a release)
// in one block, an atomic or a strong read of the same place in the other. An atomic acquires without a fence of its own:
// CUDA's examples of the last block to finish rely on this. A release by any thread of a block includes the fences that the
// threads of the block executed before its last barrier.
#pragma once
#include "reports.hpp"

constexpr int BLOCK_SCOPE = 0, DEVICE_SCOPE = 1, SCOPES = 2;

enum WarpState : int64_t { READY, WAITING, ENDED };

inline void fill(int64_t* values, int64_t count, int64_t value) {
  for (int64_t i = 0; i < count; ++i) values[i] = value;
}

// Resets the state of the last block's threads; its releases stay.
static void start_block(Checker& check, int64_t block) {
  check.block = block;
  check.barrier_fenced_any = 0;
  fill(check.clock, check.threads, 1);
  fill(check.base, check.warps, 1);
  fill(check.warp_base, check.warps, 1);
  if (check.learned) {
    check.learned = 0;
    fill(reinterpret_cast<int64_t*>(check.known_lanes), check.warps * WARP * WARP, 0);
    fill(reinterpret_cast<int64_t*>(check.known), check.warps * THREADS, 0);
    for (int64_t& set : check.acquired) set = 0;
    for (int scope = 0; scope < SCOPES; ++scope) {
      for (int64_t& lanes : check.fenced[scope]) lanes = 0;
      for (int64_t& set : check.fenced_acquired[scope]) set = 0;
      for (int64_t& epoch : check.fence_clock[scope]) epoch = 0;
      for (int64_t& epoch : check.barrier_fenced[scope]) epoch = 0;
    }
  }
  uint8_t* shadow = at<uint8_t>(check.shadow);  // nothing is initialised, no copy in flight
  for (int64_t i = check.shared_start; i < check.shared_end; ++i) shadow[i] &= Shadow::VALID;
  fill(at<int64_t>(check.copy_state), 2 * check.threads, 0);
}

static bool known_between_blocks(const Checker& check, int64_t warp, int64_t block, int64_t thread, int64_t epoch) {
  const int64_t acquired = check.acquired[warp];
  if (!acquired) return false;
  const Record* records = at<Record>(check.records);
  const int32_t* epochs = at<int32_t>(check.record_rows);
  for (int64_t next = at<int64_t>(check.record_heads)[block]; next; next = records[next - 1].next)
    if (acquired >> records[next - 1].variable & 1 && epochs[(next - 1) * check.threads + thread] >= epoch) return true;
  return false;
}

// Whether a lane of the running block knows an epoch of a thread of some block.
static bool is_ordered(const Checker& check, int64_t warp, int lane, int64_t block, int64_t thread, int64_t epoch,
                       bool shared) {
  if (block != check.block) return shared || known_between_blocks(check, warp, block, thread, epoch);
  if (epoch < check.base[warp]) return true;
  if (thread / WARP == warp) {
    const int64_t other = thread % WARP;
    if (other == lane || epoch < check.warp_base[warp] || epoch <= check.known_lanes[warp][lane][other]) return true;
  }
  return epoch <= check.known[warp][thread];
}

// Merges the epochs that the warps at a barrier of the block know.
template <class WarpsHeader>
static void join_at_barrier(Checker& check, int64_t warps, const int64_t* state, int64_t number, WarpsHeader header) {
  const auto meets = [&](int64_t warp) { return state[warp] == WAITING && header(warp).barrier_id == number; };
  bool whole = true;
  int64_t latest = 0, base = 0, acquired = 0;
  for (int64_t warp = 0; warp < warps; ++warp) {
    if (meets(warp)) {
      for (int lane = 0; lane < WARP; ++lane) latest = larger(latest, check.clock[WARP * warp + lane]);
      base = larger(base, check.base[warp]);
      acquired |= check.acquired[warp];
    } else if (state[warp] != ENDED) {
      whole = false;
    }
  }
  for (int64_t warp = 0; warp < warps; ++warp) {
    if (!meets(warp)) continue;
    check.acquired[warp] = acquired;
    if (whole) {
      check.base[warp] = latest + 1;
      continue;
    }
    check.learned = 1;
    check.base[warp] = base;
    for (int64_t other = 0; other < warps; ++other) {
      if (!meets(other)) continue;
      for (int64_t thread = 0; thread < check.threads; ++thread) {
        const int64_t epoch = thread / WARP == other ? check.clock[thread] : check.known[other][thread];
        check.known[warp][thread] = larger(check.known[warp][thread], epoch);
      }
    }
  }
  for (int64_t warp = 0; warp < warps; ++warp) {
    if (!meets(warp)) continue;
    check.warp_base[warp] = latest + 1;
    fill(check.clock + WARP * warp, WARP, latest + 1);
  }
  if (!whole || !check.learned) return;
  for (int scope = 0; scope < SCOPES; ++scope)
    for (int thread = 0; thread < THREADS; ++thread) check.barrier_fenced[scope][thread] = check.fence_clock[scope][thread];
  for (int64_t warp = 0; warp < warps; ++warp)
    if (check.fenced[BLOCK_SCOPE][warp]) check.barrier_fenced_any = 1;
}

// Merges the epochs that the lanes at a warp barrier know; each of `active` names the lanes that it waited for.
extern "C" void check_warp_barrier(const Header& state, Checker& check, Lanes active, const Lanes* named) {
  const int warp = state.warp;
  int64_t* clock = check.clock + WARP * warp;
  int64_t latest = 0;
  bool together = active == static_cast<Lanes>(state.live);
  for (int lane = 0; lane < WARP; ++lane) {
    latest = larger(latest, clock[lane]);
    if (holds(active, lane) && (named[lane] & active) != active) together = false;
  }
  if (together) {
    check.warp_base[warp] = latest + 1;
    fill(clock, WARP, latest + 1);
    return;
  }
  check.learned = 1;
  for (int lane = 0; lane < WARP; ++lane) {
    if (!holds(active, lane)) continue;
    int64_t(&known)[WARP][WARP] = check.known_lanes[warp];
    int64_t now[WARP];
    for (int other = 0; other < WARP; ++other) now[other] = known[lane][other];
    for (int other = 0; other < WARP; ++other) {
      if (!holds(named[lane] & active, other)) continue;
      now[other] = larger(now[other], clock[other]);
      for (int third = 0; third < WARP; ++third)
        if (third != other) now[third] = larger(now[third], known[other][third]);
    }
    for (int other = 0; other < WARP; ++other) known[lane][other] = now[other];
  }
  for (int lane = 0; lane < WARP; ++lane)
    if (holds(active, lane)) ++clock[lane];
}

// Stores the epochs that a lane knows, for its later releases at up to this scope, and begins its next epoch.
static void fence(Checker& check, int warp, int lane, int scope) {
  const int me = WARP * warp + lane;
  check.learned = 1;
  for (int narrower = 0; narrower <= scope; ++narrower) {
    int64_t* lanes = check.fenced_lanes[narrower][warp][lane];
    int64_t sure = larger(check.base[warp], check.warp_base[warp]) - 1;
    for (int other = 0; other < WARP; ++other) lanes[other] = larger(check.known_lanes[warp][lane][other], sure);
    lanes[lane] = check.clock[me];
    sure = check.base[warp] - 1;
    for (int64_t thread = 0; thread < check.threads; ++thread)
      check.fenced_known[narrower][warp][thread] = larger(check.known[warp][thread], sure);
    check.fenced_acquired[narrower][warp] = check.acquired[warp];
    check.fence_clock[narrower][me] = check.clock[me];
    check.fenced[narrower][warp] |= int64_t(1) << lane;
  }
  ++check.clock[me];
}

extern "C" void check_fence(const Header& state, Checker& check, int32_t block_scope, Lanes lanes) {
  for (int lane = 0; lane < WARP; ++lane)
    if (holds(lanes, lane)) fence(check, state.warp, lane, block_scope ? BLOCK_SCOPE : DEVICE_SCOPE);
}

// The number of a place that threads synchronise through, or -1.
static int64_t variable_of(Checker& check, int64_t offset, bool add) {
  const int64_t count = check.variable_count;
  for (int64_t number = 0; number < smaller(count, VARIABLES - 1); ++number)
    if (check.variable_offset[number] == offset) return number;
  if (count >= VARIABLES - 1) return VARIABLES - 1;
  if (!add) return -1;
  check.variable_offset[count] = offset;
  check.variable_count = count + 1;
  return count;
}

// Merges the epochs that were released to a place.
static void acquire(Checker& check, int warp, int64_t offset) {
  if (!check.variable_count) return;
  const int64_t number = variable_of(check, offset, false);
  if (number < 0) return;
  check.learned = 1;
  check.acquired[warp] |= int64_t(1) << number | check.variable_inherited[number];
  if (check.variable_block[number] != check.block + 1) return;
  for (int64_t thread = 0; thread < check.threads; ++thread)
    check.known[warp][thread] = larger(check.known[warp][thread], check.variable_known[number][thread]);
}

// The last epoch of a thread that a lane's release makes known.
static int64_t released(const Checker& check, int scope, int warp, int lane, int64_t thread) {
  int64_t epoch = check.barrier_fenced[scope][thread];
  if (check.fenced[scope][warp] >> lane & 1) {
    epoch = larger(epoch, check.fenced_known[scope][warp][thread]);
    if (thread / WARP == warp) epoch = larger(epoch, check.fenced_lanes[scope][warp][lane][thread % WARP]);
  }
  return epoch;
}

// The running block's record of a variable, a new one if need be; -1 where there is no room.
static int64_t record_of(Checker& check, int64_t number) {
  int64_t& head = at<int64_t>(check.record_heads)[check.block];
  Record* records = at<Record>(check.records);
  for (int64_t next = head; next; next = records[next - 1].next)
    if (records[next - 1].variable == number) return next - 1;
  if (check.record_count >= check.record_limit) return -1;
  const int64_t row = check.record_count++;
  int32_t* epochs = at<int32_t>(check.record_rows) + row * check.threads;
  for (int64_t thread = 0; thread < check.threads; ++thread) epochs[thread] = 0;
  records[row] = {number, head};
  head = row + 1;
  return row;
}

// Stores the epochs at the last fence of a lane as released to a place.
static void release(Checker& check, int warp, int lane, int64_t offset, int64_t index) {
  const bool fenced = check.fenced[BLOCK_SCOPE][warp] >> lane & 1;
  if (!fenced && !check.barrier_fenced_any) return;
  const int64_t number = variable_of(check, offset, true);
  int64_t* known = check.variable_known[number];
  if (check.variable_block[number] != check.block + 1) {
    check.variable_block[number] = check.block + 1;
    fill(known, check.threads, 0);
  }
  for (int64_t thread = 0; thread < check.threads; ++thread)
    known[thread] = larger(known[thread], released(check, BLOCK_SCOPE, warp, lane, thread));
  const int64_t row = record_of(check, number);
  if (row < 0) {
    report(check, Code::TOO_MANY_RELEASES, index, -1, thread_number(check, WARP * warp + lane), -1, offset, 4);
    return;
  }
  int32_t* epochs = at<int32_t>(check.record_rows) + row * check.threads;
  for (int64_t thread = 0; thread < check.threads; ++thread)
    epochs[thread] = larger<int64_t>(epochs[thread], released(check, DEVICE_SCOPE, warp, lane, thread));
  check.variable_inherited[number] |= check.fenced_acquired[DEVICE_SCOPE][warp];
}

extern "C" void check_membership(const Header& state, Checker& check, int32_t index, Lanes lanes) {
  for (int lane = 0; lane < WARP; ++lane)
    if (holds(lanes, lane))
      report(check, Code::NOT_A_MEMBER, index, -1, thread_number(check, WARP * state.warp + lane), -1, -1, 0);
}
