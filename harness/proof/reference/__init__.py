"""Reference outputs of a problem: torch and numpy results, the tolerance of each element, and fake kernels that must fail."""
