"""Checked launches: the checker's memory, counters and findings by source line. The checker itself is in `simulator.native`."""
