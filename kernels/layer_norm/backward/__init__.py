"""Backward variants of layer normalisation."""
