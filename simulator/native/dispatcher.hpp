// The dispatcher of a warp: it runs the pending basic block that is lowest in topological order, and counts.
//
// This order lets lanes that diverged converge where their paths join. Blocks whose lanes wait for others are skipped. While
// all lanes take the same path, nothing is queued.
#pragma once
#include "lanes.hpp"

// Per basic block the lanes that wait for their turn, and two sets of blocks: those with such lanes, and those held back until
// lanes join them, lanes exit, or nothing else can run. All go by the blocks' priorities.
struct Queue {
  Lanes* lanes;
  uint64_t *pending, *blocked;

  explicit Queue(Header& header) {
    uint8_t* state = reinterpret_cast<uint8_t*>(&header);
    lanes = reinterpret_cast<Lanes*>(state + PENDING);
    pending = reinterpret_cast<uint64_t*>(state + header.pending_set);
    blocked = reinterpret_cast<uint64_t*>(state + header.blocked_set);
  }

  void add(int priority, Lanes more) const {
    lanes[priority] |= more;
    pending[priority / 64] |= uint64_t(1) << priority % 64;
    blocked[priority / 64] &= ~(uint64_t(1) << priority % 64);
  }
};

extern "C" void queue_lanes(Header& header, int32_t priority, Lanes lanes) {
  if (lanes) Queue(header).add(priority, lanes);
}

extern "C" void hold_back(Header& header, int32_t priority) {
  Queue(header).blocked[priority / 64] |= uint64_t(1) << priority % 64;
}

// Runs a basic block and, as long as all lanes go the same way, the next.
static int64_t run_basic_blocks(const BasicBlock* blocks, BlockCounter* counters, Header& header, const Queue& queue,
                                int32_t index, Lanes lanes) {
  while (true) {
    const BasicBlock& block = blocks[index];
    const int64_t result = at<int64_t(Header&, Lanes)>(block.function)(header, lanes);
    if (result == WAITS) return DONE;
    BlockCounter& counter = counters[index];
    counter.runs += 1;
    counter.lane_runs += count(lanes);
    if (result < 0) return result;
    const Lanes taken = result, others = lanes ^ taken;
    if (taken && others) {
      counter.divergent += 1;
      queue.add(blocks[block.taken].priority, taken);
      queue.add(blocks[block.others].priority, others);
      return DONE;
    }
    index = taken ? block.taken : block.others;
    if (static_cast<Lanes>(header.live) != lanes) {
      queue.add(blocks[index].priority, lanes);
      return DONE;
    }
  }
}

// Runs a warp until it ends, waits at a barrier or faults; returns its status.
static int64_t run_warp(const Grid& grid, Header& header) {
  const BasicBlock* blocks = at<BasicBlock>(grid.basic_blocks);
  BlockCounter* counters = reinterpret_cast<BlockCounter*>(reinterpret_cast<uint8_t*>(&header) + grid.counters);
  const Queue queue(header);
  while (true) {
    uint64_t any = 0, ready = 0;
    int64_t word = 0;
    for (; word < grid.words; ++word) {
      any |= queue.pending[word];
      ready = queue.pending[word] & ~queue.blocked[word];
      if (ready) break;
    }
    if (!any) return Status::EXIT;
    if (!ready) {  // all wait for each other, unless lanes that ran out of fuel may go on
      if (!header.held) return Status::STUCK;
      header.held = 0;
      for (int64_t i = 0; i < grid.words; ++i) queue.blocked[i] = 0;
      continue;
    }
    queue.pending[word] ^= ready & -ready;
    const int64_t priority = 64 * word + __builtin_ctzll(ready);
    const Lanes lanes = queue.lanes[priority];
    queue.lanes[priority] = 0;
    const int64_t result = run_basic_blocks(blocks, counters, header, queue, blocks[priority].at_priority, lanes);
    if (result != DONE) return DONE - 1 - result;
  }
}
