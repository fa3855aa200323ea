"""Root mean square normalisation, forward and backward."""
