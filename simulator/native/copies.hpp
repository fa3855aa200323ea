// cp.async in checked mode: bytes stay in flight until the thread that copies has waited for their group.
//
// Each thread has a queue of its copies. When it has waited, the copies count as its writes of that moment, so that others
// still need a barrier to read them.
#pragma once
#include "history.hpp"

struct CopyQueue {
  Copy* copies;
  int64_t &length, &closed;  // copies in it, and groups of the thread that are closed
};

inline CopyQueue queue_of(const Checker& check, int64_t thread) {
  int64_t* state = at<int64_t>(check.copy_state) + 2 * thread;
  return {at<Copy>(check.copies) + QUEUE_LENGTH * thread, state[0], state[1]};
}

// Puts a copy of each lane in flight.
extern "C" void check_copy(const Header& state, Checker& check, int32_t index, int32_t size, Lanes lanes,
                           const int64_t* offsets) {
  uint8_t* shadow = at<uint8_t>(check.shadow);
  for (int lane = 0; lane < WARP; ++lane) {
    if (!holds(lanes, lane)) continue;
    const int64_t thread = WARP * state.warp + lane;
    const CopyQueue queue = queue_of(check, thread);
    if (queue.length == QUEUE_LENGTH) {
      report(check, Code::TOO_MANY_COPIES, index, -1, thread_number(check, thread), -1, offsets[lane], size);
      continue;
    }
    queue.copies[queue.length++] = {offsets[lane], size, queue.closed};
    for (int byte = 0; byte < size; ++byte) shadow[offsets[lane] + byte] |= Shadow::IN_FLIGHT;
  }
}

// Ends a copy: its bytes are the thread's writes of now, unless another has written since.
static void land(const Checker& check, int64_t thread, const Copy& copy) {
  uint8_t* shadow = at<uint8_t>(check.shadow);
  for (int64_t byte = 0; byte < copy.size; ++byte) shadow[copy.offset + byte] &= ~Shadow::IN_FLIGHT;
  Granule* history = at<Granule>(check.granules);
  const int64_t stamp = stamp_of(check.block, thread, check.clock[thread], false);
  const int64_t end = (copy.offset + copy.size) >> check.granule_shift;
  for (int64_t place = copy.offset >> check.granule_shift; place < end; ++place) {
    int64_t& written = history[place].written;
    if (written >> THREAD_SHIFT == stamp >> THREAD_SHIFT) written = stamp;
  }
}

// Closes a group, or lands the copies of all but the last `number` groups.
extern "C" void check_copy_groups(const Header& state, Checker& check, int32_t number, int32_t everything, Lanes lanes) {
  for (int lane = 0; lane < WARP; ++lane) {
    if (!holds(lanes, lane)) continue;
    const int64_t thread = WARP * state.warp + lane;
    const CopyQueue queue = queue_of(check, thread);
    if (number == COMMIT) {
      ++queue.closed;
      continue;
    }
    int64_t remaining = 0;
    for (int64_t place = 0; place < queue.length; ++place) {
      if (everything || queue.copies[place].group < queue.closed - number)
        land(check, thread, queue.copies[place]);
      else
        queue.copies[remaining++] = queue.copies[place];
    }
    queue.length = remaining;
  }
}
