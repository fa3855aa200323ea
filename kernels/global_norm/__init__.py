"""The Euclidean norm of all gradients, for clipping."""
