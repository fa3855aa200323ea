"""Proves a variant: problems, oracle, tolerances, gates, and the process that runs untrusted code."""
