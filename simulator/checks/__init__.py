"""Checked execution: shadow memory, races, asynchronous copies, counters, and findings by source line."""
