"""Backward variants of GELU."""
