"""Backward variants of the residual sum."""
