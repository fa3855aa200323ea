"""Chooses the kernels of a run from the records, after the proofs, races and comparisons that are missing."""
