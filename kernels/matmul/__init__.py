"""The matrix product of a linear layer, forward and backward."""
