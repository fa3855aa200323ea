// The blocks of a grid one after another, and in each the warps in turn: barriers, yields and ends.
#pragma once
#include "dispatcher.hpp"
#include "order.hpp"

// The warps of one block.
struct Block {
  Grid& grid;
  int64_t number;
  int64_t state[WARPS], arrived[BARRIERS];

  uint8_t* row(int64_t warp) const { return at<uint8_t>(grid.states) + warp * grid.state_bytes; }
  Header& header(int64_t warp) const { return *reinterpret_cast<Header*>(row(warp)); }
  bool waits_at(int64_t warp, int64_t barrier) const { return state[warp] == WAITING && header(warp).barrier_id == barrier; }
};

// A warp waits forever at a number that is not a barrier.
inline bool is_barrier(int32_t number) { return 0 <= number && number < BARRIERS; }

// Puts every warp at the kernel's first basic block.
static void begin(Block& block) {
  const Grid& grid = block.grid;
  for (int64_t barrier = 0; barrier < BARRIERS; ++barrier) block.arrived[barrier] = 0;
  for (int64_t warp = 0; warp < grid.warps; ++warp) {
    block.state[warp] = READY;
    uint8_t* row = block.row(warp);
    Header& header = block.header(warp);
    const Queue queue(header);
    for (int64_t i = 0; i < grid.basic_block_count; ++i) queue.lanes[i] = 0;
    for (int64_t i = 0; i < grid.words; ++i) queue.pending[i] = queue.blocked[i] = 0;
    if (grid.checker)  // a NaN in every format: registers read too early show in the numbers
      for (int64_t i = grid.registers; i < grid.state_bytes; ++i) row[i] = 0xff;
    const int64_t threads = smaller<int64_t>(WARP, grid.threads - WARP * warp);
    const Lanes live = (int64_t(1) << threads) - 1;
    header.live = live;
    queue.add(at<BasicBlock>(grid.basic_blocks)[0].priority, live);
    header.block = block.number;
    header.ctaid[0] = block.number % grid.dimensions[0];
    header.ctaid[1] = block.number / grid.dimensions[0] % grid.dimensions[1];
    header.ctaid[2] = block.number / (grid.dimensions[0] * grid.dimensions[1]);
  }
}

// Writes the result of bar.red to the slot of each warp.
static void give_votes(const Block& block, int64_t barrier) {
  int64_t votes = 0, threads = 0, kind = Barrier::SYNC;
  for (int64_t warp = 0; warp < block.grid.warps; ++warp) {
    if (!block.waits_at(warp, barrier)) continue;
    const Header& header = block.header(warp);
    kind = header.barrier_kind;
    votes += count(header.barrier_votes);
    threads += count(header.live);
  }
  if (kind == Barrier::SYNC) return;
  for (int64_t warp = 0; warp < block.grid.warps; ++warp) {
    if (!block.waits_at(warp, barrier)) continue;
    int32_t* result = reinterpret_cast<int32_t*>(block.row(warp) + block.header(warp).barrier_slot);
    if (kind == Barrier::POPC)
      for (int lane = 0; lane < WARP; ++lane) result[lane] = votes;
    else if (kind == Barrier::AND)
      *result = votes == threads ? -1 : 0;
    else
      *result = votes ? -1 : 0;
  }
}

// Releases the warps at a barrier if it is complete; at least one warp waits there; `alive` threads are left.
static bool release_at(Block& block, int64_t barrier, int64_t alive) {
  Grid& grid = block.grid;
  int64_t here = block.arrived[barrier], required = 0, first = -1, second = -1;
  for (int64_t warp = 0; warp < grid.warps; ++warp) {
    if (!block.waits_at(warp, barrier)) continue;
    const Header& header = block.header(warp);
    here += count(header.live);
    required = larger<int64_t>(required, header.barrier_count);
    if (first < 0)
      first = header.barrier_pc;
    else if (first != header.barrier_pc)
      second = header.barrier_pc;
  }
  if (here < (required ? required : alive)) return false;
  if (second >= 0 && !grid.mixed) {
    grid.mixed = 1;
    grid.mixed_first = first;
    grid.mixed_second = second;
    grid.mixed_block = block.number;
  }
  if (!required && alive < grid.threads && !grid.exited) {
    grid.exited = 1;
    grid.exited_first = first;
    grid.exited_block = block.number;
  }
  give_votes(block, barrier);
  if (grid.checker)
    join_at_barrier(*at<Checker>(grid.checker), grid.warps, block.state, barrier,
                    [&](int64_t warp) -> const Header& { return block.header(warp); });
  for (int64_t warp = 0; warp < grid.warps; ++warp)
    if (block.waits_at(warp, barrier)) block.state[warp] = READY;
  block.arrived[barrier] = 0;
  return true;
}

// Releases the warps whose barrier is complete; returns whether there were any.
static bool release_barriers(Block& block) {
  int64_t alive = 0;
  uint32_t waited_at = 0;
  for (int64_t warp = 0; warp < block.grid.warps; ++warp) {
    const Header& header = block.header(warp);
    if (block.state[warp] != ENDED) alive += count(header.live);
    if (block.state[warp] == WAITING && is_barrier(header.barrier_id)) waited_at |= 1u << header.barrier_id;
  }
  bool released = false;
  for (int64_t barrier = 0; barrier < BARRIERS; ++barrier)
    if (waited_at >> barrier & 1) released |= release_at(block, barrier, alive);
  return released;
}

// Runs one block to its end.
static int64_t run_block(Block& block) {
  Grid& grid = block.grid;
  const auto end_at = [&](int64_t warp, int64_t outcome) {
    grid.last_block = block.number;
    grid.last_warp = warp;
    return outcome;
  };
  int64_t yields = 0;
  while (true) {
    bool ready = false, waiting = false;
    for (int64_t turn = 0; turn < grid.warps; ++turn) {
      const int64_t warp = at<int64_t>(grid.warp_order)[turn];
      if (block.state[warp] == READY) {
        Header& header = block.header(warp);
        header.fuel = grid.fuel;
        const int64_t status = run_warp(grid, header);
        if (status == Status::EXIT) {
          block.state[warp] = ENDED;
          yields = 0;
        } else if (status == Status::BARRIER && header.barrier_kind == Barrier::ARRIVE) {
          if (is_barrier(header.barrier_id)) block.arrived[header.barrier_id] += count(header.live);
          ready = true;
        } else if (status == Status::BARRIER) {
          block.state[warp] = WAITING;
        } else if (status == Status::YIELD) {
          ready = true;
          if (++yields > grid.patience) return end_at(warp, Outcome::SPINNING);
        } else {
          return end_at(warp, status);
        }
      }
      waiting |= block.state[warp] == WAITING;
    }
    if (ready) continue;
    if (!waiting) return Outcome::DONE;
    if (!release_barriers(block)) return end_at(-1, Outcome::BARRIER_STUCK);
    yields = 0;
  }
}

// Runs every block of a grid and returns an outcome.
extern "C" int64_t run_grid(Grid& grid) {
  for (int64_t turn = 0; turn < grid.block_count; ++turn) {
    Block block = {grid, at<int64_t>(grid.block_order)[turn], {}, {}};
    uint8_t* shared = at<uint8_t>(grid.shared);
    for (int64_t i = 0; i < grid.shared_bytes; ++i) shared[i] = 0xff;  // a NaN in every format: so read too early it shows
    if (grid.checker) start_block(*at<Checker>(grid.checker), block.number);
    begin(block);
    const int64_t outcome = run_block(block);
    if (outcome != Outcome::DONE) return outcome;
  }
  return Outcome::DONE;
}
