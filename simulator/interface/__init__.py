"""What Python and C++ share, and the results of a launch: memory layouts, enums, findings, counters."""
