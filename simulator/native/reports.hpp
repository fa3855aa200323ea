// Reports of the checker: one per kind and pair of instructions, counted.
#pragma once
#include "lanes.hpp"

// The number of a thread of the running block, as reports give it.
inline int64_t thread_number(const Checker& check, int64_t thread) { return check.block * THREADS + thread; }

[[gnu::noinline, gnu::cold]] static void report(Checker& check, int64_t code, int64_t index, int64_t other_index,
                                                int64_t thread, int64_t other_thread, int64_t offset, int64_t size) {
  Report* reports = at<Report>(check.reports);
  for (int64_t i = 0; i < check.report_count; ++i) {
    Report& known = reports[i];
    if (known.code == code && known.index == index && known.other_index == other_index) {
      ++known.times;
      return;
    }
  }
  if (check.report_count < check.report_limit)
    reports[check.report_count++] = {code, index, other_index, thread, other_thread, offset, size, 1};
}
