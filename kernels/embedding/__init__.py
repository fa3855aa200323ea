"""Token and position embedding, forward and backward."""
