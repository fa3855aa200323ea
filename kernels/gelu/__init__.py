"""GELU in its tanh form, forward and backward."""
