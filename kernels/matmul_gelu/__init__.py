"""A linear layer followed by GELU, as one op, forward and backward."""
