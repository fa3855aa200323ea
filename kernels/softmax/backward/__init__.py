"""Backward variants of softmax."""
