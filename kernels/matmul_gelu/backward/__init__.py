"""Backward variants of the fused linear layer and GELU."""
