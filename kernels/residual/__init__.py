"""The residual sum, forward and backward."""
