"""Residual sum and layer normalisation in one op, forward and backward."""
