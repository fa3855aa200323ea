"""Backward variants of the fused residual sum and layer normalisation."""
