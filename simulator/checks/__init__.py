"""Checked execution: the checker's memory, checked launches, counters, and findings by source line. The checker is C++."""
