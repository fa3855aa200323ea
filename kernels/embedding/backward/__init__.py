"""Backward variants of the embedding."""
