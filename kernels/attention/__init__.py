"""Causal multi-head attention, forward and backward."""
