// The costs of an access in the memory system: 32-byte sectors of global memory, wavefronts over the 32 banks of shared memory.
//
// Loops repeat the pattern of an access at other places, so per instruction the last one's costs are remembered, by where it
// stood relative to a sector.
#pragma once
#include "lanes.hpp"

constexpr int SECTOR_SHIFT = 5, WORD_SHIFT = 2, BANKS = 32;
constexpr int MOST_PLACES = 64;  // sectors or words that a request may touch: no lane has more than two, no turn more than 32

struct Turns {
  int64_t actual, ideal;  // the turns that a request takes, and the fewest possible turns
};

inline bool among(const int64_t* places, int count, int64_t place) {
  for (int i = count - 1; i >= 0; --i)
    if (places[i] == place) return true;
  return false;
}

static Turns sectors(const int64_t* offsets, Lanes lanes, int64_t size) {
  int64_t seen[MOST_PLACES];
  int held = 0;
  for (int lane = 0; lane < WARP; ++lane) {
    if (!holds(lanes, lane)) continue;
    const int64_t end = (offsets[lane] + size - 1) >> SECTOR_SHIFT;
    for (int64_t sector = offsets[lane] >> SECTOR_SHIFT; sector <= end; ++sector)
      if (!among(seen, held, sector)) seen[held++] = sector;
  }
  return {held, larger<int64_t>(1, (count(lanes) * size + 31) >> SECTOR_SHIFT)};
}

// Lanes that read the same word share it. Accesses of 8 bytes are served by half warps, of 16 by quarter warps (CUDA C++
// Programming Guide, section on shared memory of devices of compute capability 5.x and later).
static Turns bank_wavefronts(const int64_t* offsets, Lanes lanes, int64_t size) {
  const int per_turn = smaller<int64_t>(WARP, 128 / size);
  Turns turns = {0, 0};
  for (int first = 0; first < WARP; first += per_turn) {
    int64_t words[MOST_PLACES], in_bank[BANKS] = {}, worst = 0;
    int held = 0;
    for (int lane = first; lane < first + per_turn; ++lane) {
      if (!holds(lanes, lane)) continue;
      const int64_t end = (offsets[lane] + size - 1) >> WORD_SHIFT;
      for (int64_t word = offsets[lane] >> WORD_SHIFT; word <= end; ++word) {
        int64_t& waiting = in_bank[word & (BANKS - 1)];
        if (waiting && among(words, held, word)) continue;
        words[held++] = word;
        worst = larger(worst, ++waiting);
      }
    }
    turns.actual += worst;
    turns.ideal += held > 0;
  }
  return turns;
}

// The turns of a request, remembered in `pattern`.
static Turns turns_of(Pattern& pattern, bool shared, Lanes lanes, int64_t first, int64_t size, const int64_t* offsets) {
  constexpr int64_t USED = int64_t(1) << 32;
  constexpr int COST_SHIFT = 16;
  int64_t changed = pattern.lanes ^ (lanes | USED);
  for (int lane = 0; lane < WARP; ++lane) {
    const int64_t distance = (offsets[lane] - first) ^ pattern.distances[lane];
    changed |= holds(lanes, lane) ? distance : 0;
  }
  if (changed) {
    pattern.lanes = lanes | USED;
    for (int lane = 0; lane < WARP; ++lane) {
      pattern.distances[lane] = offsets[lane] - first;
      pattern.costs[lane] = 0;
    }
  }
  int64_t& cost = pattern.costs[first & (shared ? 3 : 31)];
  if (!cost) {
    const Turns turns = shared ? bank_wavefronts(offsets, lanes, size) : sectors(offsets, lanes, size);
    cost = turns.actual << COST_SHIFT | turns.ideal;
  }
  return {cost >> COST_SHIFT, cost & ((1 << COST_SHIFT) - 1)};
}
