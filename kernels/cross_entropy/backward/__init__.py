"""Backward variants of cross entropy: loss and gradient in one op."""
