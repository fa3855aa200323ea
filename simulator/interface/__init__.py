"""The interface of Python and C++, and the results of a launch: memory layouts, enums, findings, counters."""
