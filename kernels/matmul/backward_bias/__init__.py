"""Variants of the gradient of a matrix product with respect to its bias."""
