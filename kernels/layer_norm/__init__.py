"""Layer normalisation, forward and backward."""
