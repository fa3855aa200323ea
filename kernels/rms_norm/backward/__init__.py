"""Backward variants of root mean square normalisation."""
