"""Backward variants of attention."""
